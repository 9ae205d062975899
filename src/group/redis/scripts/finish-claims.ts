import { BEFORE, BESIDE, FENCE, NOW } from './fence.ts'
import type { Script } from './script.ts'

/**
 * Keeps the cursor if the slot is still ours, and notes the mark: just below the oldest pending entry, or the last delivered one if nothing
 * is pending. A group made again there skips nothing.
 *
 * Due times that have passed mean nothing any more, nor does one whose entry a zombie acked: of those to come, the next thousand are
 * compared with what is pending.
 *
 * KEYS stream, lease, due, state. ARGV group, consumer, token, cursor, 1 if the run acknowledged something, whose time is noted. Answers
 * the mark.
 */
export const finishClaims: Script = {
  keyCount: 4,
  lua: `
local stream, lease, due, state = unpack(KEYS)
local group, consumer, token, cursor, acked = unpack(ARGV)
${FENCE}
${NOW}
${BEFORE}
${BESIDE}
local mark
local pending = redis.call('XPENDING', stream, group)
if pending[1] > 0 then mark = before(pending[2])
else
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local fields = {}
    for i = 1, #info, 2 do fields[info[i]] = info[i + 1] end
    if fields.name == group then mark = fields['last-delivered-id'] end
  end
end
beside('ZREMRANGEBYSCORE', due, '-inf', ('%.0f'):format(now))
for _, id in ipairs(beside('ZRANGE', due, 0, 999) or {}) do
  if not idOr(id, nil) or not redis.call('XPENDING', stream, group, id, id, 1)[1] then beside('ZREM', due, id) end
end
beside('HSETNX', state, 'stream', stream)
beside('HSET', state, 'mark', mark)
if acked == '1' then beside('HSET', state, 'acked', ('%.0f'):format(now)) end
if leased() then beside('HSET', state, 'cursor', cursor) end
return mark
`,
}
