import { FENCE, NOW } from './fence.ts'
import type { Script } from './script.ts'

/**
 * Takes over stale entries without counting a delivery, and puts back as it was what is not due or finds no room.
 *
 * XAUTOCLAIM with COUNT 100 looks at up to 1,000 pending ids, hence the 1,000 that are noted first. What it claims loses its owner and its
 * idle time, so both are put back from the note. The page ends before the first entry that found no room.
 *
 * KEYS stream, lease, due, state. ARGV group, consumer, token, min-idle ms, cursor ('' the stored one), room.
 * Answers 0 if the lease is gone, else the page's start, the next cursor, [id, former owner, idle ms, count] an entry, the trimmed ids.
 */
export const claimPage: Script = {
  keyCount: 4,
  lua: `
local stream, lease, due, state = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, consumer, token, idle, cursor, room = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
${FENCE}
${NOW}
if not leased() then return 0 end
if cursor == '' then cursor = redis.call('HGET', state, 'cursor') or '0-0' end

local was = {}
for _, p in ipairs(redis.call('XPENDING', stream, group, cursor, '+', 1000)) do was[p[1]] = p end
local page = redis.call('XAUTOCLAIM', stream, group, consumer, idle, cursor, 'COUNT', 100, 'JUSTID')
local after, out, lost = page[1], {}, page[3] or {}

local full = false
for _, id in ipairs(page[2]) do
  local p = was[id]
  local wait = redis.call('ZSCORE', due, id)
  local ready = not wait or tonumber(wait) <= now
  if ready and #out >= room and not full then full, after = true, id end
  if ready and not full then out[#out + 1] = {id, p[2], p[3], p[4]}
  else redis.call('XCLAIM', stream, group, p[2], 0, id, 'IDLE', p[3], 'JUSTID') end
end
for _, id in ipairs(lost) do redis.call('ZREM', due, id) end
return {cursor, after, out, lost}
`,
}
