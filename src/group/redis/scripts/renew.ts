import { LUA_FENCE } from './fence.ts'
import { SEES_PAUSES } from './pauses.ts'
import type { LuaScript } from './script.ts'

/**
 * Sets the idle time of what we hold to 0 and leaves its count. Refused behind the fence.
 *
 * KEYS stream, lease, paused. ARGV group, consumer, token, then for each entry id, count. Answers -1 if the lease is gone, else how many had been trimmed,
 * which XCLAIM drops without a word; where something is paused, an array of that, the text and the server's time.
 */
export const renewIdleScript: LuaScript = {
  keyCount: 3,
  lua: `
local stream, lease, paused = unpack(KEYS)
local group, consumer, token = unpack(ARGV, 1, 3)
${LUA_FENCE}
${SEES_PAUSES}
local ours, text = leaseAndPauses()
if not ours then return -1 end
local lost = 0
for at = 4, #ARGV, 2 do
  if mine(ARGV[at], ARGV[at + 1]) then
    if not redis.call('XCLAIM', stream, group, consumer, 0, ARGV[at], 'JUSTID')[1] then lost = lost + 1 end
  end
end
see(text)
return text and seeing({lost}) or lost
`,
}
