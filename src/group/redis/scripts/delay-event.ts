import { UNREADABLE_SCORE } from './delayed-counts.ts'
import { LUA_INSERT_DELAYED } from './delayed-insert.ts'
import { LUA_DELAYED_PIECES, LUA_KEEP_APART, MIN_APART_BYTES } from './delayed-pieces.ts'
import {
  ENDED,
  LUA_BODY_NAMES,
  LUA_BODY_TRIMS,
  LUA_CALL_OF_BODY,
  LUA_DELAYS,
  LUA_TRIED,
  MAX_EVENT_DELAY_MS,
} from './delays.ts'
import { LUA_DELETE_TEXT_KEY, LUA_NOW_MS } from './fence.ts'
import { LUA_MARKER } from './marker.ts'
import type { LuaScript } from './script.ts'

/** What the script answers first; `published`: an entry of that id is in the stream, and its marker says which. */
const DELAY_SCRIPT_ANSWERS = { added: 1, waits: 2, promoted: 3, published: 4 } as const

/** Field pairs that an entry may have to be promoted by every server. */
const MAX_FIELD_PAIRS = 1_000

/**
 * Delays an event. While one of that id waits, or is remembered to have been promoted, nothing is added: a call that is sent again does no harm. Memory is asked
 * for by the first write, and everything else before it: nothing is ever half written. With a marker, nothing is added while that stands, which is written with the
 * event: an id is added once within the window. A nonce that is known is a call that is sent again: its event was cancelled meanwhile, or its window is over.
 *
 * KEYS stream, delayed, events, next, ended 0, ended 1, and the marker, or none.
 * ARGV event id; 'in' or 'at'; milliseconds from now, or since 1970; how the stream is trimmed then ('' not at all, 'MAXLEN ~ 1000', 'MINID ~ 60000' by age in
 * ms, = for ~ is exact); a nonce of the call, which is the same when it is sent again ('' none); number of groups to wake; with a
 * marker, the window in milliseconds; these groups; then the entry's names and values.
 * Answers a number of DELAY_SCRIPT_ANSWERS, and when the event is due; where it is in the stream, and the marker says so, its entry's id.
 */
export const delayEventScript: LuaScript = {
  keyCount: undefined,
  lua: `
${LUA_NOW_MS}
${LUA_DELETE_TEXT_KEY}
${LUA_DELAYS}
${LUA_BODY_NAMES}
${LUA_BODY_TRIMS}
${LUA_INSERT_DELAYED}
${LUA_DELAYED_PIECES}
${LUA_KEEP_APART}
local id, how, time, trim, nonce, groups = unpack(ARGV, 1, 6)
local window, firstGroup = marker and ARGV[7] or '1', marker and 8 or 7
local count = (groups or ''):match('^%d%d?%d?$')
local first = firstGroup + (count and tonumber(count) or #ARGV)
local key = keyOf(id)
local due = (how == 'in' and now or 0) + math.ceil(tonumber(time) or -1)

${LUA_TRIED}
${LUA_CALL_OF_BODY}
${LUA_MARKER}
local function fault()
  if how ~= 'in' and how ~= 'at' then return 'a time must be in or at' end
  if how == 'in' and not (due >= now) or not (due >= 0) then return 'a delay must be milliseconds, and a time milliseconds since 1970' end
  if due - now > ${MAX_EVENT_DELAY_MS} then return 'deliverAt must be within 366 days by the clock of the server' end
  local bound = trim:match('^MAXLEN [~=] (%d+)$') or trim:match('^MINID [~=] (%d+)$')
  if trim ~= '' and not (bound and #bound < 16) then return 'a stream must be trimmed by MAXLEN or MINID' end
  if not isWindow() then return 'a window must be milliseconds, 1 to 11 digits' end
  if nonce:find('%s') then return 'a nonce must be without white space' end
  if not count then return 'the number of groups must be a whole number below 1000' end
  local values = #ARGV - first + 1
  if values < 2 or values % 2 == 1 or values > ${2 * MAX_FIELD_PAIRS} then return 'an entry must have 1 to ${MAX_FIELD_PAIRS} pairs of name and value' end
end

local function text(value) return number(#value) .. value end
local function bodyOf()
  local kind, bound = trim:match('^(%u+ [~=]) (%d+)$')
  local large, letters, head, ids, ends = ${MIN_APART_BYTES}, {}
  for n = first + 1, #ARGV, 2 do large = math.max(large, ARGV[n] ~= id and #ARGV[n] or 0) end
  local parts = {'1', '-', text(large > ${MIN_APART_BYTES} and '' or nonce), number(first - firstGroup)}
  for letter, each in pairs(TRIMS) do
    if each == kind then parts[2] = letter .. number(tonumber(bound)) end
  end
  for letter, name in pairs(NAMES) do letters[name] = letter end
  for n = firstGroup, first - 1 do parts[#parts + 1] = text(ARGV[n]) end
  for n = first, #ARGV, 2 do
    local name, value = ARGV[n], ARGV[n + 1]
    local digits = large > ${MIN_APART_BYTES} and value:match('^....%-..%-..T..:..:..%....Z$') and value:gsub('%D', '') or ''
    if name == 'eventId' and value == id then parts[#parts + 1] = 'i'
    elseif name == 'occurredAt' and #digits == 17 then parts[#parts + 1] = 'w' .. number(digits:sub(1, 8) + 0) .. number(digits:sub(9) + 0)
    else
      parts[#parts + 1] = (letters[name] or '=' .. text(name)) .. number(#value)
      if #value == large and value ~= id and not head then
        head = table.concat(parts)
        value, ids, ends = keep(value)
        parts = {head}
      end
      parts[#parts + 1] = value
    end
  end
  local body = table.concat(parts)
  return head and '1+' .. number(large) .. text(nonce) .. body .. ids .. four(#head + 1) .. string.char(ends) or body
end

local wrong = fault()
local refused = wrong and 'ERR ' .. wrong or marker and denied(markRights) or refusal({
  {'ZREVRANGEBYSCORE', delayed, 0, 0}, {'ZADD', delayed, 0, ''}, {'HSET', events, '#', ''}, {'HSETNX', events, '', stream}, {'HDEL', events, ''}, {'GETDEL', flag}, {'SETNX', flag, ''},
})
if refused then return redis.error_reply(refused) end

readCounts()
local ended = endedAs(key)
local _, cancelledOf = callsOf(ended)
if nonce ~= '' and cancelledOf[nonce] then return {${DELAY_SCRIPT_ANSWERS.added}, ms(due)} end
local place, isOurs = placeIn(marker and redis.call('GET', marker))
if place and place:find('-', 1, true) then return {${DELAY_SCRIPT_ANSWERS.published}, place} end
if place then return {isOurs and ${DELAY_SCRIPT_ANSWERS.added} or ${DELAY_SCRIPT_ANSWERS.waits}, place} end
local found = find(key)
if found then
  local comes, by, waits = found.due < ${UNREADABLE_SCORE}, callOf(found.body), ms(found.due % ${UNREADABLE_SCORE})
  if nonce ~= '' and by == nonce then return {${DELAY_SCRIPT_ANSWERS.added}, waits} end
  refused = marker and comes and triedMarking()
  if refused then return redis.error_reply(refused) end
  if marker and comes then mark(waits, by) end
  return {${DELAY_SCRIPT_ANSWERS.waits}, waits}
end
local promoted = ended and ended:match('^${ENDED.promoted}(%S+)')
if promoted then return {${DELAY_SCRIPT_ANSWERS.promoted}, promoted} end
local was = redis.call('GET', flag)
local flagging = {{'ZREVRANGEBYSCORE', delayed, 0, 0}, {'ZSCORE', delayed, ''}, {'ZRANGEBYSCORE', delayed, 0, 1}, was and {'SETNX', flag, was} or {'GETDEL', flag}, {'GETDEL', flag}, {'SETNX', flag, was or ''}, not was and {'GETDEL', flag}}
refused = tried({{'ZADD', delayed, 'x', ''}}, 'float') or tried({{'HSET', events, '#', '', 'x'}}, 'wrong number')
  or tried(flagging) or marker and triedMarking() or tried({{'HDEL', events, 'x'}, {'HSETNX', events, '', stream}})
if refused then return redis.error_reply(refused) end
insert(due, key, bodyOf())
redis.call('HSETNX', events, '', stream)
keepFlag()
if marker then mark(ms(due), nonce) end
return {${DELAY_SCRIPT_ANSWERS.added}, ms(due)}
`,
}
