import type { LuaScript } from './script.ts'

/**
 * Reads entries by their ids, and changes nothing: of each all its fields, or one of them.
 *
 * KEYS stream. ARGV a field ('' all), then the ids. Answers for each entry its fields; none where it is gone, or has no such field.
 */
export const peekScript: LuaScript = {
  keyCount: 1,
  lua: `
local out, field = {}, ARGV[1]
for n = 2, #ARGV do
  local entry = redis.call('XRANGE', KEYS[1], ARGV[n], ARGV[n])[1]
  local fields = entry and entry[2] or {}
  local own = field == '' and fields or {}
  if field ~= '' then
    for i = 1, #fields, 2 do if fields[i] == field then own = {field, fields[i + 1]} end end
  end
  out[n - 1] = own
end
return out
`,
}
