/** The second byte of a body of which a value is kept apart: `+`. */
export const APART = 43

/** Bytes of a value below which it stays on its page: from there on, a page leaves more memory unused for it than a field of its own takes. */
export const MIN_APART_BYTES = 512

/** Bytes of a value's end up to which that stays on its page. */
const MAX_END_BYTES = 224

/** A field of ends is closed at so many bytes, or at a few ends of the size of the one that is added, whichever is more. */
const MAX_ENDS_BYTES = 3_066
const FEW_ENDS = 4

/** Bytes that Redis puts around a string, at most. */
const STRING_BYTES = 6

/**
 * The longest value of an event is kept apart from its page where it is large, so that little memory stays unused: Redis takes memory for a string in four sizes to each power of two. As much of the value as
 * fills one of these is the field `c<id>`. What is left, its end, stays on the page where it is small. Otherwise it shares the field `s<id>` with ends of other values, each after the id of its event and its
 * length; when that field fills one of the sizes, the next one begins, and an end may be in both. The field `s` names the open one. Each id is 4 bytes.
 *
 * The event's body on its page is `1+`, the value's length, and the nonce of the call; then as any other body, without nonce and what is apart; then ids of the fields of its ends, the last one first, the event's
 * id here, the place of the value from where the other body begins, in 4 bytes, and how many ends there are. Its time of publishing, where it is one of ISO 8601, is `w` and two numbers: 20261130 and 93000250 for 2026-11-30T09:30:00.250Z. A version that does not know all
 * that finds and cancels such an event, and sets it aside when it is due.
 *
 * `endIn(field, id)` is the text of a field, where an event's end is in it, where its bytes begin, and what comes after it; an error where the field has something else. Needs LUA_FIND_DELAYED.
 */
export const LUA_DELAYED_PIECES = `
local function endIn(field, id)
  local text, at = held(field), 1
  while at <= #text do
    local length, from = numberAt(text, at + 4)
    if text:sub(at, at + 3) == id then return text, at, from, from + length end
    at = from + length
  end
  if at ~= #text + 1 then error('cut off') end
end
`

/** `dropApart(body)` removes what is apart, as far as it is there. Needs LUA_DELAYED_PIECES and LUA_CHANGE_DELAYED. */
export const LUA_DROP_APART = `
local function dropApart(body)
  if body:byte(2) ~= ${APART} then return end
  local id = body:sub(-9, -6)
  put('c' .. id, '')
  for n = 1, body:byte(-1) do
    local field = 's' .. body:sub(-9 - 4 * n, -6 - 4 * n)
    local isRead, text, at, _, after = pcall(endIn, field, id)
    if isRead and text then put(field, text:sub(1, at - 1) .. text:sub(after)) end
  end
end
`

/** `keep(value)` writes what is apart of a value, and is what stays on its page, and what a body ends with, without the value's place. An open field that somebody else wrote is left for a new one. Needs LUA_DELAYED_PIECES and LUA_CHANGE_DELAYED. */
export const LUA_KEEP_APART = `
local function filling(n)
  local _, power = math.frexp(n + ${STRING_BYTES})
  return n - (n + ${STRING_BYTES}) % 2 ^ (power - 3)
end
local function keep(value)
  local size, open, id = filling(#value), held('s')
  repeat
    newPage()
    id = four(pages)
  until id ~= open and redis.call('HSETNX', events, 'c' .. id, value:sub(1, size)) == 1
  local rest = value:sub(size + 1)
  if #rest <= ${MAX_END_BYTES} then return rest, id, 0 end
  if #open ~= 4 or not pcall(endIn, 's' .. open, id) then open = id end
  local text = held('s' .. open) .. id
  local bytes = #text + #number(#rest)
  local room = filling(bytes + #rest) - bytes
  if room < 1 or bytes + #rest < math.max(${MAX_ENDS_BYTES}, ${FEW_ENDS} * #rest) then room = #rest end
  put('s', open, 's' .. open, text .. number(room) .. rest:sub(1, room))
  if room == #rest then return '', open .. id, 1 end
  put('s', id, 's' .. id, held('s' .. id) .. id .. number(#rest - room) .. rest:sub(room + 1))
  return '', id .. open .. id, 2
end
`
