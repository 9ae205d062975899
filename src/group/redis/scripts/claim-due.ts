import { PARKED } from '../../../core/keys.ts'
import { BESIDE, FENCE, GONE, NOW } from './fence.ts'
import type { Script } from './script.ts'

/** Members of an index that one call inspects, at most. */
const LOOKS = 1_000

/**
 * Takes over entries that are due by an index, without counting a delivery. They stay in the index until they are started: who is not parked is in
 * somebody's hands, and is left. What is no longer pending is forgotten, and what was trimmed acknowledged.
 *
 * KEYS stream, lease, index. ARGV group, consumer, token, room, milliseconds since 1970 up to which an entry is due ('' now), members to pass over.
 * Answers 0 if the lease is gone, else the time up to which it looked, [id, former owner, idle ms, count] an entry, the trimmed ids.
 */
export const claimDue: Script = {
  keyCount: 3,
  lua: `
local stream, lease, index = unpack(KEYS)
local group, consumer, token, room, till, past = unpack(ARGV)
${FENCE}
${GONE}
${NOW}
${BESIDE}
if not leased() then return 0 end
if till == '' then till = ('%.0f'):format(now) end
local out, lost = {}, {}
for _, id in ipairs(beside('ZRANGEBYSCORE', index, '-inf', till, 'LIMIT', past, ${LOOKS}) or {}) do
  if #out >= tonumber(room) then break end
  local p = idOr(id, nil) and redis.call('XPENDING', stream, group, id, id, 1)[1]
  if not p then beside('ZREM', index, id)
  elseif trimmed(id) then
    redis.call('XACK', stream, group, id)
    beside('ZREM', index, id)
    lost[#lost + 1] = id
  elseif p[2] == '${PARKED}' then
    redis.call('XCLAIM', stream, group, consumer, 0, id, 'JUSTID')
    out[#out + 1] = {id, p[2], p[3], ('%.0f'):format(saturated(p[4]))}
  end
end
return {till, out, lost}
`,
}
