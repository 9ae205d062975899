import { FENCE, NOW } from './fence.ts'
import type { Script } from './script.ts'

/**
 * Keeps the cursor if the slot is still ours, and notes the mark: just below the oldest pending entry, or the last delivered one if nothing
 * is pending. A group made again there skips nothing. The id below is found digit by digit, since Lua's numbers are doubles.
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
local stream, lease, due, state = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, consumer, token, cursor = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
${FENCE}
${NOW}
local function minusOne(digits)
  local zeros = string.match(digits, '0*$')
  local head = string.sub(digits, 1, #digits - #zeros)
  local lower = string.sub(head, 1, -2) .. string.char(string.byte(head, -1) - 1) .. string.rep('9', #zeros)
  return (string.gsub(lower, '^0+(%d)', '%1'))
end
local function before(id)
  local ms, seq = string.match(id, '^(%d+)%-(%d+)$')
  if seq ~= '0' then return ms .. '-' .. minusOne(seq) end
  if ms ~= '0' then return minusOne(ms) .. '-18446744073709551615' end
  return id
end

local mark
local pending = redis.call('XPENDING', stream, group)
if pending[1] > 0 then mark = before(pending[2])
else
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local fields = {}
    for i = 1, #info, 2 do fields[info[i]] = info[i + 1] end
    if fields['name'] == group then mark = fields['last-delivered-id'] end
  end
end
redis.call('ZREMRANGEBYSCORE', due, '-inf', now)
for _, id in ipairs(redis.call('ZRANGE', due, 0, 999)) do
  if not redis.call('XPENDING', stream, group, id, id, 1)[1] then redis.call('ZREM', due, id) end
end
redis.call('HSETNX', state, 'stream', stream)
redis.call('HSET', state, 'mark', mark)
if ARGV[5] == '1' then redis.call('HSET', state, 'acked', now) end
if leased() then redis.call('HSET', state, 'cursor', cursor) end
return mark
`,
}
