import { NOW } from './fence.ts'
import type { Script } from './script.ts'

/** Answered in place of a lag that the server does not know. */
export const UNKNOWN = -1

/**
 * What a group has before it, from commands whose cost does not grow with it. A server counts its lag from how many entries were ever added
 * and read: it knows none before 7.0 or while there is a deleted entry ahead, and 7.0 and 7.2 count trimmed entries, hence the two corrections.
 *
 * KEYS stream, dead letters, then the lease of each poller slot. ARGV group. Answers pending entries, the age of the oldest in ms, the lag
 * or UNKNOWN, the lengths of the stream and of the dead letters, and how many of the slots are taken.
 */
export const measure: Script = {
  keyCount: undefined,
  lua: `
local stream, letters, group = KEYS[1], KEYS[2], ARGV[1]
${NOW}
local function fieldsOf(flat)
  local fields = {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end
local pending = redis.call('XPENDING', stream, group)
local age = pending[1] > 0 and math.max(0, now - tonumber(string.match(pending[2], '^%d+'))) or 0
local info = fieldsOf(redis.call('XINFO', 'STREAM', stream))
local lag = ${UNKNOWN}
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local fields = fieldsOf(flat)
  if fields['name'] == group then
    if fields['last-delivered-id'] == info['last-generated-id'] or info['length'] == 0 then lag = 0
    elseif fields['lag'] then lag = math.min(fields['lag'], info['length']) end
  end
end
local taken = 0
for i = 3, #KEYS do taken = taken + redis.call('EXISTS', KEYS[i]) end
local length = redis.pcall('XLEN', letters)
return {pending[1], age, lag, info['length'], type(length) == 'number' and length or 0, taken}
`,
}
