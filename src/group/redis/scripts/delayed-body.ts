import { APART, LUA_DELAYED_PIECES } from './delayed-pieces.ts'
import { LUA_BODY_NAMES, LUA_BODY_TRIMS } from './delays.ts'

/**
 * `read(body, key)` is the XADD of a delayed event, the groups that it wakes, and what it leaves of the fields that have what is apart of it; an error if the body is not to be read. `sizeOf(body)` is how many bytes it has, what is
 * apart included. Needs LUA_DELAYS.
 */
export const LUA_READ_BODY = `
${LUA_BODY_NAMES}
${LUA_BODY_TRIMS}
${LUA_DELAYED_PIECES}
local function idOf(key)
  if key:sub(1, 1) == 't' then return key:sub(2) end
  local hex = ('%02x'):rep(16):format(key:byte(2, 17))
  return table.concat({hex:sub(1, 8), hex:sub(9, 12), hex:sub(13, 16), hex:sub(17, 20), hex:sub(21)}, '-')
end

local function sizeOf(body)
  if body:byte(2) ~= ${APART} then return #body end
  local isRead, size = pcall(numberAt, body, 3)
  return isRead and size or #body
end

-- what is on the page as any other body has it, where in it the value is, what is apart of that, and what is left then of the fields that have it
local function onPageOf(body)
  if body:byte(2) ~= ${APART} then return body, 0, {}, 0, {} end
  local count, id, parts, bytes = body:byte(-1), body:sub(-9, -6), {}, 0
  local size, at = numberAt(body, 3)
  local length, from = numberAt(body, at)
  local left = {['c' .. id] = ''}
  parts[1] = redis.call('HGET', events, 'c' .. id)
  for n = 1, count do
    local field = 's' .. body:sub(-9 - 4 * n, -6 - 4 * n)
    local text, head, first, after = endIn(field, id)
    parts[n + 1], left[field] = text:sub(first, after - 1), text:sub(1, head - 1) .. text:sub(after)
  end
  for n = 1, count + 1 do bytes = bytes + #parts[n] end
  if count > 0 and bytes ~= size then error('of another length') end
  local a, b, c, d = body:byte(-5, -2)
  return body:sub(from + length, -10 - 4 * count), ((a * 256 + b) * 256 + c) * 256 + d, parts, bytes, left
end

local function instantOf(day, time)
  local text = ('%08.0f%09.0f'):format(day, time):gsub('^(....)(..)(..)(..)(..)(..)(...)$', '%1-%2-%3T%4:%5:%6.%7Z')
  return text
end

-- an XADD of what a body says, and its groups; an error if that is not to be read
local function read(body, key)
  local cut, parts, apart, left
  body, cut, parts, apart, left = onPageOf(body)
  local at = 3
  local function count()
    local n
    n, at = numberAt(body, at)
    return n
  end
  local function text()
    local length = count()
    local from, isCut = at, at == cut
    at = at + length - (isCut and apart or 0)
    if at < from or at > #body + 1 then error('cut off') end
    local onPage = body:sub(from, at - 1)
    if not isCut then return onPage end
    parts[#parts + 1], cut = onPage, 0
    return table.concat(parts)
  end
  if body:sub(1, 1) ~= '1' then error('of another version') end
  local add, kind, groups = {'XADD', stream}, body:sub(2, 2), {}
  if kind ~= '-' then
    local trim, exact = TRIMS[kind]:match('^(%u+) ([~=])$')
    local bound = count()
    add[3], add[4], add[5] = trim, exact, ms(trim == 'MINID' and math.max(0, now - bound) or bound)
  end
  add[#add + 1] = '*'
  local heads = #add
  text()
  for n = 1, count() do groups[n] = text() end
  while at <= #body do
    local letter = body:sub(at, at)
    at = at + 1
    local name = letter == 'i' and 'eventId' or letter == 'w' and 'occurredAt' or letter == '=' and text() or NAMES[letter] or error('of an unknown field')
    add[#add + 1] = name
    add[#add + 1] = letter == 'i' and idOf(key) or letter == 'w' and instantOf(count(), count()) or text()
  end
  if #add == heads or cut > 0 then error('of no fields') end
  return add, groups, left
end
`
