import { PARKED } from '../../core/keys.ts'
import { NOW } from './fence.ts'
import type { Script } from './script.ts'

/**
 * Ends a poller's run: gives its lease back, and before that, if all that reached it is settled, releases what was read under it and never
 * reached us, because the reply was lost and the read sent again. Those are the entries of our name with one delivery that are no more idle
 * than the lease is old; older ones are a dead process's, and suspects. They wait for the min-idle time, in case the lease was lost once and
 * another runs them under our name.
 *
 * KEYS stream, lease, state, the flag of publishers if it is to be taken back. ARGV group, consumer, token, the lease's length in ms, 1 if the run
 * acknowledged something, whose time is noted, 1 if all is settled. Answers 1 if the flag was up.
 */
export const finishReads: Script = {
  keyCount: undefined,
  lua: `
local stream, lease, state, flag = unpack(KEYS)
local group, consumer, token, length, acked, settled = unpack(ARGV)
if redis.pcall('GET', lease) ~= token then return 0 end
local pending = settled == '1' and redis.pcall('XPENDING', stream, group, '-', '+', 10000, consumer) or {}
local age = length - redis.call('PTTL', lease)
-- where it is an error, as in a lost group, it has no entries
for _, p in ipairs(pending) do
  if p[4] == 1 and p[3] <= age then
    redis.call('XCLAIM', stream, group, '${PARKED}', 0, p[1], 'IDLE', 0, 'RETRYCOUNT', 0, 'JUSTID')
  end
end
if acked == '1' then
  ${NOW}
  redis.pcall('HSET', state, 'acked', now)
end
redis.call('DEL', lease)
return flag and redis.call('DEL', flag) or 0
`,
}
