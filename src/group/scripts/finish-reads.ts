import { PARKED } from '../../core/keys.ts'
import type { Script } from './script.ts'

/**
 * Ends a poller's run: gives its lease back, and before that releases what was read under it and never reached us, because the reply was
 * lost and the read sent again. Those are the entries of our name with one delivery that are no more idle than the lease is old; older ones
 * are a dead process's, and suspects. They wait for the min-idle time, in case the lease was lost once and another runs them under our name.
 *
 * KEYS stream, lease. ARGV group, consumer, token, the lease's length in ms. Answers how many were released.
 */
export const finishReads: Script = {
  keyCount: 2,
  lua: `
local stream, lease = KEYS[1], KEYS[2]
local group, consumer, token, length = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if redis.call('GET', lease) ~= token then return 0 end
local pending = redis.pcall('XPENDING', stream, group, '-', '+', 10000, consumer)
local age, released = length - redis.call('PTTL', lease), 0
for _, p in ipairs(pending.err and {} or pending) do
  if p[4] == 1 and p[3] <= age then
    redis.call('XCLAIM', stream, group, '${PARKED}', 0, p[1], 'IDLE', 0, 'RETRYCOUNT', 0, 'JUSTID')
    released = released + 1
  end
end
redis.call('DEL', lease)
return released
`,
}
