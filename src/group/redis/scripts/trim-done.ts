import { LUA_SORTABLE_ID } from './aside.ts'
import { LUA_DONE_BY_GROUPS, LUA_ID_AFTER } from './done-by-groups.ts'
import { HIGHEST_ENTRY_ID, LUA_ID_BEFORE, LUA_NOW_MS, LUA_READ_KEYS_BESIDE_GROUP } from './fence.ts'
import type { LuaScript } from './script.ts'

/** Entries that one command reads: few at first, since they may be large. */
const PAGE = { first: 10, most: 100 }
/** Pending entries that are gone, of one group, which one step counts. */
export const MAX_GONE = 1_000

/**
 * How many entries left the stream before a registered group had done them, and that no step had seen before: those that are pending and gone, and, by the server's counts, those
 * that it never read. A server may count those for ever as unread, behind which a group has gone on: by so many its count is off ("drift"), which shows once the group has passed the gap. One that does not count, as before 7.0, shows one at least, where the next entry of a group was seen and is gone.
 */
const LUA_TRIMMED_AHEAD = `
local ahead, added, firstId, lastId = 0, -1, nil, '0-0'
local length = 0
local function setDrift(name, drift, is)
  if is == drift then return end
  if is > 0 then redis.call('HSET', janitor, 'drift:' .. name, num(is)) else redis.call('HDEL', janitor, 'drift:' .. name) end
end
do
  local info = redis.pcall('XINFO', 'STREAM', stream)
  for i = 1, info.err and 0 or #info, 2 do
    if info[i] == 'length' then length = info[i + 1]
    elseif info[i] == 'last-generated-id' then lastId = info[i + 1]
    elseif info[i] == 'entries-added' then added = info[i + 1]
    elseif info[i] == 'first-entry' and info[i + 1] then firstId = info[i + 1][1] end
  end
end
for name, group in pairs(there) do
  if registered[name] and not ignored[name] then
    local last, level, nextId = group['last-delivered-id'], 0, ''
    if group.pendingFrom and (not firstId or sortable(group.pendingFrom) < sortable(firstId)) then
      level = #redis.call('XPENDING', stream, name, '-', firstId and '(' .. firstId or '+', ${MAX_GONE})
    end
    if added >= 0 and group['entries-read'] then
      local drift = msOr(beside('HGET', janitor, 'drift:' .. name), 0)
      local unread, seen = added - group['entries-read'], beside('HGET', janitor, 'gone:' .. name)
      if sortable(last) < sortable(firstId or lastId) then level = level + math.max(0, unread - length - drift)
      elseif sortable(last) >= sortable(lastId) then setDrift(name, drift, unread)
      elseif seen then
        local left = #redis.call('XRANGE', stream, '(' .. last, '+', 'COUNT', ${MAX_GONE})
        setDrift(name, drift, left < ${MAX_GONE} and unread - left or drift + msOr(seen, 0))
      end
    else
      local noted = beside('HGET', janitor, 'next:' .. name)
      if idOr(noted, nil) and sortable(noted) > sortable(last) and (not firstId or sortable(noted) < sortable(firstId)) then level, nextId = level + 1, noted
      elseif last ~= '${HIGHEST_ENTRY_ID}' then
        local one = redis.call('XRANGE', stream, '(' .. last, '+', 'COUNT', 1)[1]
        nextId = one and one[1] or ''
      end
      if nextId == '' then redis.call('HDEL', janitor, 'next:' .. name) else redis.call('HSET', janitor, 'next:' .. name, nextId) end
    end
    local seen = msOr(beside('HGET', janitor, 'gone:' .. name), 0)
    if level > seen then
      ahead = ahead + level - seen
      redis.call('HINCRBY', janitor, 'ahead:' .. name, level - seen)
    end
    if level > 0 then redis.call('HSET', janitor, 'gone:' .. name, level)
    elseif seen > 0 then redis.call('HDEL', janitor, 'gone:' .. name) end
  end
end
`

/** The next range: entries from the start that may go and that nobody needs. Where one that may go is needed, who needs it is noted, with the time. */
const LUA_NEXT_RANGE = `
local limited = maxLength ~= '' or retentionMs ~= '' or beforeId ~= ''
local over = maxLength ~= '' and length - tonumber(maxLength) or limited and 0 or length
local aged = retentionMs ~= '' and sortable(num(math.max(0, now - tonumber(retentionMs))) .. '-0')
local early = beforeId ~= '' and sortable(beforeId)
local function mayGo(n, id) return n <= over or aged and sortable(id) < aged or early and sortable(id) < early end

local first, last, count, bytes, blockedAt = nil, nil, 0, 0, nil
local from, isOver, pageSize = '-', length == 0, ${PAGE.first}
while not isOver do
  local page = redis.call('XRANGE', stream, from, '+', 'COUNT', pageSize)
  for _, entry in ipairs(page) do
    local id = entry[1]
    if not mayGo(count + 1, id) then isOver = true break end
    if not isSafe(id) then blockedAt, isOver = id, true break end
    for _, text in ipairs(entry[2]) do bytes = bytes + #text end
    if count > 0 and (count >= tonumber(maxEntries) or bytes > tonumber(maxBytes)) then isOver = true break end
    first, last, count = first or id, id, count + 1
  end
  if #page < pageSize then break end
  from, pageSize = '(' .. page[#page][1], math.min(${PAGE.most}, 2 * pageSize)
end
local blockers = (blockedAt or count == 0) and blockersAt(blockedAt)
`

/** `blockersAt(id)`: who needs an entry, with the time since when it is noted; of all others, and of losses of groups that are no longer registered, the notes go. */
const LUA_BLOCKERS = `
local function blockersAt(id)
  local blockers, blocks = {}, {}
  for _, field in ipairs(order) do
    local doneId, why, name = unpack(done[field])
    if id and sortable(doneId) < sortable(id) then
      blocks[field] = true
      redis.call('HSETNX', janitor, field, num(now))
      local since = msOr(beside('HGET', janitor, field), now)
      local isRegistered = field == 'since:' .. name and registered[name]
      blockers[#blockers + 1] = {name, why, isRegistered and 1 or 0, doneId, num(math.max(0, now - since))}
    end
  end
  for _, field in ipairs(beside('HKEYS', janitor) or {}) do
    local loser = field:match('^ahead:(.*)$') or field:match('^gone:(.*)$') or field:match('^next:(.*)$') or field:match('^drift:(.*)$')
    if field:find('^since') and not blocks[field] or loser and not registered[loser] then redis.call('HDEL', janitor, field) end
  end
  return blockers
end
`

/**
 * One step of a janitor: what all groups have done is found in the step that trims it.
 *
 * `plan` takes the lease and answers the range in hand: one that an earlier step had planned, or the next one, which is noted before anybody archives it. Without an archive it is
 * trimmed at once. `settle` notes that the range in hand is archived, and trims it unless somebody needs it by then.
 *
 * Works with memory full: it begins with a write that is never refused, and what follows one is not.
 *
 * KEYS stream, its registry, the janitor's notes, the floors; then of each group its state, and both indexes of what is set aside. ARGV `plan` or `settle`, token, lease in ms, 1 with an archive, then each or `''`: the
 * length, the age in ms and the id by which entries may go, the id from which on they stay; the entries and bytes of a range, 1 where nothing goes without groups, the ignored groups and those with
 * keys as JSON, those whose keys may not be read, and of `settle` the range as it was noted. Answers what it is, and the groups that are missing, or: the range, whether it is an earlier step's, whether it was
 * archived, entries trimmed, the length, entries trimmed ahead of a group, who blocks, groups that nobody registered.
 */
export const trimDoneScript: LuaScript = {
  keyCount: undefined,
  lua: `
local stream, registry, janitor, floors = unpack(KEYS, 1, 4)
local mode, token, leaseMs, archives, maxLength, retentionMs, beforeId, keepFrom, maxEntries, maxBytes, needsGroups, ignoring, naming, denying, settling = unpack(ARGV)
${LUA_NOW_MS}
${LUA_READ_KEYS_BESIDE_GROUP}
${LUA_SORTABLE_ID}
${LUA_ID_BEFORE}
${LUA_ID_AFTER}
local function num(n) return ('%.0f'):format(n) end
local at, ignored, denied = {}, {}, {}
for n, name in ipairs(cjson.decode(naming)) do at[name] = 3 * n + 2 end
for _, name in ipairs(cjson.decode(ignoring)) do ignored[name] = true end
for _, name in ipairs(cjson.decode(denying)) do denied[name] = true end

redis.call('HDEL', janitor, '')
local holder = beside('HGET', janitor, 'lease') or ''
if mode == 'settle' then
  if holder ~= token then return {'lapsed'} end
elseif holder ~= '' and holder ~= token and msOr(beside('HGET', janitor, 'leaseUntil'), 0) > now then return {'busy'} end
${LUA_DONE_BY_GROUPS}
if mode == 'plan' then redis.call('HSET', janitor, 'lease', token, 'leaseUntil', num(now + tonumber(leaseMs)), 'ranAt', num(now)) end
${LUA_TRIMMED_AHEAD}
local function answer(is, range, isRepeated, isArchived, trimmed, blockers)
  return {is, {}, range or '', isRepeated and 1 or 0, isArchived and 1 or 0, trimmed, redis.call('XLEN', stream), ahead, blockers or {}, unregistered}
end
local function trim(lastId)
  -- no id is above the last there can be
  local gone = lastId == '${HIGHEST_ENTRY_ID}' and redis.call('XTRIM', stream, 'MAXLEN', '0') or redis.call('XTRIM', stream, 'MINID', after(lastId))
  if gone > 0 then redis.call('HINCRBY', janitor, 'trimmed', gone) end
  return gone
end
${LUA_BLOCKERS}

local noted = beside('HGET', janitor, 'range')
if noted and not noted:match('^%d+%-%d+ %d+%-%d+ %d+$') then noted = false end
local isArchived = noted and beside('HGET', janitor, 'isArchived') == '1'
if mode == 'settle' then
  if noted ~= settling then return {'lapsed'} end
  local lastId, entries = noted:match(' (%S+) (%d+)$')
  if not isArchived then
    redis.call('HSET', janitor, 'archived', lastId, 'isArchived', '1')
    redis.call('HINCRBY', janitor, 'archivedEntries', entries)
  end
  if not isSafe(lastId) then return answer('held', noted, true, true, 0, blockersAt(lastId)) end
  local gone = trim(lastId)
  redis.call('HDEL', janitor, 'range')
  return answer('range', noted, true, true, gone)
end
if noted and archives == '1' then return answer('range', noted, true, isArchived, 0) end
if noted then redis.call('HDEL', janitor, 'range') end
${LUA_NEXT_RANGE}
if count == 0 then return answer('nothing', nil, false, false, 0, blockers) end
local range = first .. ' ' .. last .. ' ' .. count
if archives == '1' then
  redis.call('HSET', janitor, 'range', range)
  redis.call('HDEL', janitor, 'isArchived')
  return answer('range', range, false, false, 0)
end
return answer('range', range, false, false, trim(last))
`,
}
