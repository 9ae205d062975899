import { FENCE } from './fence.ts'
import type { Script } from './script.ts'

/** What the script answers for an entry. */
export const STARTED = { yes: 1, superseded: 0, leaseLost: 2, lost: 3 } as const

/**
 * Starts claimed entries: counts the delivery, restarts the idle clock, and gives the body. Refused behind the fence. Sent twice after a lost
 * reply it counts once: under our own lease, one delivery more can only be the one that the first sending counted.
 *
 * KEYS stream, lease, due. ARGV group, consumer, token, then for each entry id, count.
 * Answers for each entry [a number of STARTED, fields].
 */
export const start: Script = {
  keyCount: 3,
  lua: `
local stream, lease, due = KEYS[1], KEYS[2], KEYS[3]
local group, consumer, token = ARGV[1], ARGV[2], ARGV[3]
${FENCE}
local ours, out = leased(), {}
for at = 4, #ARGV, 2 do
  local id = ARGV[at]
  if not ours then out[#out + 1] = {${STARTED.leaseLost}}
  elseif mine(id, ARGV[at + 1]) or mine(id, ARGV[at + 1] + 1) then
    local entry = redis.call('XCLAIM', stream, group, consumer, 0, id, 'RETRYCOUNT', ARGV[at + 1] + 1)[1]
    redis.call('ZREM', due, id)
    if entry then out[#out + 1] = {${STARTED.yes}, entry[2]}
    else
      redis.call('XACK', stream, group, id) -- before 7.0 a trimmed entry stays pending
      out[#out + 1] = {${STARTED.lost}}
    end
  else out[#out + 1] = {${STARTED.superseded}} end
end
return out
`,
}
