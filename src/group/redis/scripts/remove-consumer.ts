import type { LuaScript } from './script.ts'

/**
 * Removes a consumer name that has no live lease, owns nothing, and has been idle. DELCONSUMER would drop what it owns for good, so all of
 * it is inspected in the same step.
 *
 * KEYS stream, lease. ARGV group, consumer, min-idle ms. Answers 1 if it was removed, else 0.
 */
export const removeConsumerScript: LuaScript = {
  keyCount: 2,
  lua: `
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local fields = {}
  for i = 1, #info, 2 do fields[info[i]] = info[i + 1] end
  if fields.name == ARGV[2] and fields.pending == 0 and fields.idle >= tonumber(ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
    return 1
  end
end
return 0
`,
}
