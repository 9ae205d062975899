import { BESIDE, FENCE, HELD } from './fence.ts'
import type { Script } from './script.ts'

/** What the script answers for an entry. */
export const STARTED = { yes: 1, superseded: 0, leaseLost: 2, lost: 3 } as const

/**
 * Starts claimed entries: counts the delivery, restarts the idle clock, and gives the body. Refused behind the fence. Sent twice after a lost
 * reply it counts once: under our own lease, one delivery more can only be the one that the first sending counted.
 *
 * Entries of the same count are claimed by one command: it is most of what a retry costs the server.
 *
 * KEYS stream, lease, due. ARGV group, consumer, token, then for each entry id, count, lowest id first.
 * Answers for each entry [a number of STARTED, fields].
 */
export const start: Script = {
  keyCount: 3,
  lua: `
local stream, lease, due = unpack(KEYS)
local group, consumer, token = unpack(ARGV, 1, 3)
${FENCE}
${HELD}
${BESIDE}
local ours, counts, claims, bodies, out = leased(), held(ARGV[4], ARGV[#ARGV - 1]), {}, {}, {}
for at = 4, #ARGV, 2 do
  local id, raised = ARGV[at], ARGV[at + 1] + 1
  if ours and (counts(id) == raised - 1 or counts(id) == raised) then
    claims[raised] = claims[raised] or {}
    table.insert(claims[raised], id)
  end
end
for count, ids in pairs(claims) do
  local claim = {'XCLAIM', stream, group, consumer, 0, unpack(ids)}
  claim[#claim + 1], claim[#claim + 2] = 'RETRYCOUNT', count
  for _, id in ipairs(ids) do bodies[id] = false end
  for _, entry in ipairs(redis.call(unpack(claim))) do if entry then bodies[entry[1]] = entry[2] end end
  beside('ZREM', due, unpack(ids))
end
for at = 4, #ARGV, 2 do
  local id = ARGV[at]
  if bodies[id] then out[#out + 1] = {${STARTED.yes}, bodies[id]}
  elseif bodies[id] == false then
    redis.call('XACK', stream, group, id) -- before 7.0 a trimmed entry stays pending
    out[#out + 1] = {${STARTED.lost}}
  else out[#out + 1] = {ours and ${STARTED.superseded} or ${STARTED.leaseLost}} end
end
return out
`,
}
