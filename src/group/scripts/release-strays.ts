import { PARKED } from '../../core/keys.ts'
import type { Script } from './script.ts'

/**
 * Releases what was read under our lease and never reached us, because the reply was lost and the read sent again: entries of our name
 * with one delivery that are no more idle than the lease is old. Older ones are a dead process's, and suspects.
 *
 * KEYS stream, lease. ARGV group, consumer, token, the lease's length in ms, min-idle ms. Answers how many.
 */
export const releaseStrays: Script = {
  keyCount: 2,
  lua: `
local stream, lease = KEYS[1], KEYS[2]
local group, consumer, token, length, idle = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if redis.call('GET', lease) ~= token then return 0 end
local pending = redis.call('XPENDING', stream, group, '-', '+', 10000, consumer)
local age, released = length - redis.call('PTTL', lease), 0
for _, p in ipairs(pending) do
  if p[4] == 1 and p[3] <= age then
    redis.call('XCLAIM', stream, group, '${PARKED}', 0, p[1], 'IDLE', idle, 'RETRYCOUNT', 0, 'JUSTID')
    released = released + 1
  end
end
return released
`,
}
