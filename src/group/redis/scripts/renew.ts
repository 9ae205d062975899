import { FENCE } from './fence.ts'
import type { Script } from './script.ts'

/**
 * Sets the idle time of what we hold to 0 and leaves its count. Refused behind the fence.
 *
 * KEYS stream, lease. ARGV group, consumer, token, then for each entry id, count. Answers how many had been trimmed,
 * which XCLAIM drops without a word; -1 if the lease is gone.
 */
export const renew: Script = {
  keyCount: 2,
  lua: `
local stream, lease = unpack(KEYS)
local group, consumer, token = unpack(ARGV, 1, 3)
${FENCE}
if not leased() then return -1 end
local lost = 0
for at = 4, #ARGV, 2 do
  if mine(ARGV[at], ARGV[at + 1]) then
    if not redis.call('XCLAIM', stream, group, consumer, 0, ARGV[at], 'JUSTID')[1] then lost = lost + 1 end
  end
end
return lost
`,
}
