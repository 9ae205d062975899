import { ENDED, LUA_DELAYS, LUA_RECORD_NAMES, MAX_EVENT_DELAY_MS, UNREADABLE_SCORE } from './delays.ts'
import { LUA_DELETE_TEXT_KEY, LUA_NOW_MS } from './fence.ts'
import type { LuaScript } from './script.ts'

/** What the script answers first. */
const DELAY_SCRIPT_ANSWERS = { added: 1, waits: 2, promoted: 3 } as const

/** Field pairs that an entry may have to be promoted by every server. */
const MAX_FIELD_PAIRS = 1_000

/**
 * Delays an event. While one of that id waits, or is remembered to have been promoted, nothing is added: a call that is sent again does no harm. Memory is asked
 * for by the first write, and everything else before it: nothing is ever half written.
 *
 * KEYS stream, delayed, events, next, ended 0, ended 1.
 * ARGV event id; 'in' or 'at'; milliseconds from now, or since 1970; how the stream is trimmed then ('' not at all, 'MAXLEN ~ 1000', 'MINID ~ 60000' by age in
 * ms, = for ~ is exact); number of groups to wake, and these; then the entry's names and values.
 * Answers a number of DELAY_SCRIPT_ANSWERS, and when the event is due.
 */
export const delayEventScript: LuaScript = {
  keyCount: 6,
  lua: `
${LUA_NOW_MS}
${LUA_DELETE_TEXT_KEY}
${LUA_DELAYS}
${LUA_RECORD_NAMES}
local id, how, time, trim, groups = unpack(ARGV, 1, 5)
local first = 6 + (tonumber(groups) or 0)
local member = memberOf(id)
local due = (how == 'in' and now or 0) + math.ceil(tonumber(time) or -1)

local function fault()
  if how ~= 'in' and how ~= 'at' then return 'a time must be in or at' end
  if how == 'in' and not (due >= now) or not (due >= 0) then return 'a delay must be milliseconds, and a time milliseconds since 1970' end
  if due - now > ${MAX_EVENT_DELAY_MS} then return 'deliverAt must be within 366 days by the clock of the server' end
  if trim ~= '' and not trim:match('^MAXLEN [~=] %d+$') and not trim:match('^MINID [~=] %d+$') then return 'a stream must be trimmed by MAXLEN or MINID' end
  local values = #ARGV - first + 1
  if values < 2 or values % 2 == 1 or values > ${2 * MAX_FIELD_PAIRS} then return 'an entry must have 1 to ${MAX_FIELD_PAIRS} pairs of name and value' end
end

local function text(value) return ('%d:'):format(#value) .. value end
local function record()
  local letters, parts = {}, {'1', text(trim)}
  for letter, name in pairs(NAMES) do letters[name] = letter end
  for n = 6, first - 1 do parts[#parts + 1] = 'g' .. text(ARGV[n]) end
  for n = first, #ARGV, 2 do
    local name, value = ARGV[n], ARGV[n + 1]
    if name == 'eventId' and value == id then parts[#parts + 1] = 'i'
    else parts[#parts + 1] = (letters[name] or text(name)) .. text(value) end
  end
  return table.concat(parts)
end

local wrong = fault()
local refused = wrong and 'ERR ' .. wrong or refusal({
  {'ZADD', delayed, 0, member}, {'HSET', events, member, ''}, {'HSETNX', events, '', stream}, {'GETDEL', flag}, {'SETNX', flag, ''},
})
if refused then return redis.error_reply(refused) end

local waits = redis.call('ZSCORE', delayed, member)
if waits then return {${DELAY_SCRIPT_ANSWERS.waits}, ms(waits % ${UNREADABLE_SCORE})} end
local ended = endedAs(member)
if ended and ended:sub(1, 1) == '${ENDED.promoted}' then return {${DELAY_SCRIPT_ANSWERS.promoted}, ended:sub(2)} end
redis.call('ZADD', delayed, ms(due), member)
redis.call('HSET', events, member, record())
redis.call('HSETNX', events, '', stream)
keepFlag()
return {${DELAY_SCRIPT_ANSWERS.added}, ms(due)}
`,
}
