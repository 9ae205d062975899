import { LUA_SORTABLE_ID } from './aside.ts'
import type { LuaScript } from './script.ts'

/** Entries that are counted beyond a group; what is more is guessed by the time in its ids. */
const MAX_COUNTED = 10_000

/**
 * Entries that registered groups have not acknowledged, for the one that has the most: what lies in the stream beyond it, and what is pending. What a server does not count, as
 * before 7.0 and after deletions, is counted here, up to a bound. A registered group that there is not has the whole stream before it.
 *
 * KEYS stream, registry. @returns Nothing without a registered group; the group's name and the entries otherwise.
 */
export const undoneEntriesScript: LuaScript = {
  keyCount: 2,
  lua: `
${LUA_SORTABLE_ID}
local names = redis.call('HKEYS', KEYS[2])
if #names == 0 then return {} end
local length = redis.call('XLEN', KEYS[1])
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local function msOf(id) return tonumber(id:match('^%d+')) end
local function beyond(delivered, lag)
  if not last or sortable(delivered) >= sortable(last[1]) then return 0 end
  if sortable(delivered) < sortable(first[1]) then return length end
  if type(lag) == 'number' then return lag end
  local counted = #redis.call('XRANGE', KEYS[1], '(' .. delivered, '+', 'COUNT', ${MAX_COUNTED})
  if counted < ${MAX_COUNTED} then return counted end
  local from, at, to = msOf(first[1]), msOf(delivered), msOf(last[1])
  return math.max(counted, to > from and math.ceil(length * (to - at) / (to - from)) or 0)
end
local undone = {}
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
if groups.err and not groups.err:find('no such key', 1, true) then return groups end
for _, info in ipairs(groups.err and {} or groups) do
  local fields = {}
  for i = 1, #info, 2 do fields[info[i]] = info[i + 1] end
  undone[fields.name] = beyond(fields['last-delivered-id'], fields.lag) + fields.pending
end
local slowest, most = '', -1
for _, name in ipairs(names) do
  local entries = undone[name] or length
  if entries > most then slowest, most = name, entries end
end
return {slowest, most}
`,
}
