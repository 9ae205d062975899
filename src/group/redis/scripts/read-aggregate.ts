import type { LuaScript } from './script.ts'

/**
 * Reads events of an aggregate, from a version on, each the next: it stops where one is gone from the stream.
 *
 * KEYS stream, the versions of the aggregate. ARGV the first version, the last one, how many at most, and how many bytes of names and values; the first one is
 * read whatever it has. Answers the newest version that the aggregate has had, and the entries.
 */
export const readAggregateScript: LuaScript = {
  keyCount: 2,
  lua: `
local stream, versions = unpack(KEYS)
local version, left = tonumber(ARGV[1]), tonumber(ARGV[4])
local newest = redis.call('ZREVRANGE', versions, 0, 0, 'WITHSCORES')[2] or 0
local rows = redis.call('ZRANGEBYSCORE', versions, ARGV[1], ARGV[2], 'WITHSCORES', 'LIMIT', 0, ARGV[3])
local entries = {}
for n = 1, #rows, 2 do
  local entry = tonumber(rows[n + 1]) == version and redis.call('XRANGE', stream, rows[n], rows[n])[1]
  if not entry then break end
  for _, text in ipairs(entry[2]) do left = left - #text end
  if left < 0 and entries[1] then break end
  entries[#entries + 1] = entry
  version = version + 1
end
return {('%.0f'):format(newest), entries}
`,
}
