import { PARKED_CONSUMER } from '../../../core/keys.ts'
import { LUA_SET_ASIDE } from './aside.ts'
import { LUA_FENCE, LUA_IS_TRIMMED, LUA_NOW_MS, LUA_READ_KEYS_BESIDE_GROUP } from './fence.ts'
import type { LuaScript } from './script.ts'

/** Members of an index that one call deals with: three to five milliseconds (`npm run bench:aside`). */
const PAGE = 250

/**
 * Gives a group that was made again one page of what was set aside in its last life: what the index holds at or below the mark is made pending again with its count, what it holds above is
 * forgotten, since it is read again. What ran when the group was lost is due at once.
 *
 * KEYS stream, lease, due, waiting, state. ARGV group, consumer, token. Answers 0 if the lease is gone, else 1 if all is done and 2 if not, and how many had been trimmed.
 */
export const healGroupScript: LuaScript = {
  keyCount: 5,
  lua: `
local stream, lease, due, waiting, state = unpack(KEYS)
local group, consumer, token = unpack(ARGV)
${LUA_FENCE}
${LUA_IS_TRIMMED}
${LUA_NOW_MS}
${LUA_READ_KEYS_BESIDE_GROUP}
${LUA_SET_ASIDE}
if not leased() then return {0, 0} end
local mark, at, from = unpack(beside('HMGET', state, 'healing', 'healDue', 'healWaiting') or {})
if not mark then return {1, 0} end
-- where it is unreadable, what was read since may come again, and nothing is forgotten
if not isId(mark) then mark = beside('HGET', state, 'mark') end
if not isId(mark) then mark = '0-0' end
if not from or not parts(from) then from = '' end
if at ~= 'done' and not (at or ''):match('^%d+$') then at = '0' end
local lost, looked = 0, 0

-- whether it stays in its index, and whether it was made pending by this
local function again(id, count)
  looked = looked + 1
  if not isId(id) then return false end
  if redis.call('XPENDING', stream, group, id, id, 1)[1] then return true, false end
  if sortable(id) > sortable(mark) then return false end
  if #redis.call('XRANGE', stream, id, id) == 0 then lost = lost + 1 return false end
  redis.call('XCLAIM', stream, group, '${PARKED_CONSUMER}', 0, id, 'IDLE', 0, 'RETRYCOUNT', num(count), 'FORCE', 'JUSTID')
  return true, true
end

while at ~= 'done' and looked < ${PAGE} do
  local scan = beside('ZSCAN', due, at, 'COUNT', 100) or {'0', {}}
  for i = 1, #scan[2], 2 do
    local id, placed = scan[2][i], tonumber(scan[2][i + 1]) or 0
    local stays, isMade = again(id, countOf(placed))
    if not stays then beside('ZREM', due, id)
    elseif isMade and placed >= RUNNING then beside('ZADD', due, score(now, countOf(placed)), id) end
  end
  at = scan[1] == '0' and 'done' or scan[1]
end
while at == 'done' and from and looked < ${PAGE} do
  local page = beside('ZRANGEBYLEX', waiting, from == '' and '-' or '(' .. from, '+', 'LIMIT', 0, 100) or {}
  for _, text in ipairs(page) do
    local _, id, count = parts(text)
    if not again(id, count) then beside('ZREM', waiting, text) end
  end
  from = #page == 100 and page[100] or nil
end
if at == 'done' and not from then
  beside('HDEL', state, 'healing', 'healDue', 'healWaiting')
  return {1, lost}
end
beside('HSET', state, 'healDue', at, 'healWaiting', from)
return {2, lost}
`,
}
