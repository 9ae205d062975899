import type { LuaScript } from './script.ts'

/**
 * Entries between two ids whose bytes a client would not carry: what is not ASCII is written in hexadecimal digits behind an `x`, all else behind a `t`.
 *
 * KEYS stream. ARGV first id, last id, how many.
 */
export const readBytesScript: LuaScript = {
  keyCount: 1,
  lua: `
local function written(text)
  if not text:find('[\\128-\\255]') then return 't' .. text end
  return 'x' .. text:gsub('.', function(char) return ('%02x'):format(char:byte()) end)
end
local entries = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])
for _, entry in ipairs(entries) do
  for n, text in ipairs(entry[2]) do entry[2][n] = written(text) end
end
return entries
`,
}
