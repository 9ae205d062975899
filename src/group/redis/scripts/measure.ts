import { PARKED_CONSUMER } from '../../../core/keys.ts'
import { HIGHEST_ENTRY_ID, LUA_NOW_MS, LUA_READ_KEYS_BESIDE_GROUP } from './fence.ts'
import type { LuaScript } from './script.ts'

/** Answered in place of a lag that the server does not know. */
export const UNKNOWN_LAG = -1

/**
 * What a group has before it, from commands whose cost does not grow with it. How many entries wait is counted as long as they are few. More
 * are counted by the server, which does not know before 7.0 and while there is a deleted entry ahead, and before 8.0 counts too many once entries
 * were trimmed that nobody had read.
 *
 * KEYS stream, dead letters, state, then the lease of each poller slot. ARGV group. Answers pending entries, the age of the oldest in ms or UNKNOWN,
 * where its id is ahead of the clock, the lag or UNKNOWN, the lengths of the stream and of the dead letters, how many of the slots are taken, and the time in ms since something was last
 * acknowledged, or UNKNOWN; and how many of the pending ones are set aside.
 */
export const measureBacklogScript: LuaScript = {
  keyCount: undefined,
  lua: `
local stream, letters, state = unpack(KEYS, 1, 3)
local group = ARGV[1]
${LUA_NOW_MS}
${LUA_READ_KEYS_BESIDE_GROUP}
local pending = redis.call('XPENDING', stream, group)
local parked = 0
for _, c in ipairs(pending[4] or {}) do if c[1] == '${PARKED_CONSUMER}' then parked = tonumber(c[2]) end end
local age = pending[1] > 0 and now - tonumber(pending[2]:match('^%d+')) or 0
if age < 0 then age = ${UNKNOWN_LAG} end
local length, lag = redis.call('XLEN', stream), ${UNKNOWN_LAG}
for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local fields = {}
  for i = 1, #info, 2 do fields[info[i]] = info[i + 1] end
  if fields.name == group then
    local last = fields['last-delivered-id']
    local ahead = last == '${HIGHEST_ENTRY_ID}' and 0 or #redis.call('XRANGE', stream, '(' .. last, '+', 'COUNT', 10)
    if ahead < 10 then lag = ahead
    elseif fields.lag then lag = math.min(fields.lag, length) end
  end
end
local taken = 0
for i = 4, #KEYS do taken = taken + redis.call('EXISTS', KEYS[i]) end
local deadLetters = redis.pcall('XLEN', letters)
local acked = msOr(beside('HGET', state, 'acked'), nil)
local since = acked and math.max(0, now - acked) or ${UNKNOWN_LAG}
return {pending[1], age, lag, length, type(deadLetters) == 'number' and deadLetters or 0, taken, since, parked}
`,
}
