/** Places of an index that are looked through for the lowest id; a group that has more of them keeps everything until they are pending again. */
export const MAX_INDEXED = 1_000
/** `after(id)` is the first id above it. */
export const LUA_ID_AFTER = `
local function plusOne(digits)
  local nines = digits:match('9*$')
  local head = digits:sub(1, #digits - #nines)
  local higher = head == '' and '1' or head:sub(1, -2) .. string.char(head:byte(-1) + 1)
  return higher .. ('0'):rep(#nines)
end
local function after(id)
  local ms, seq = id:match('^(%d+)%-(%d+)$')
  if seq ~= '18446744073709551615' then return ms .. '-' .. plusOne(seq) end
  return plusOne(ms) .. '-0'
end
`

/**
 * What each group has done: all entries up to an id. `done[field] = {id, why, name}`, by the field of the janitor's notes that says since when it blocks, so that no group shares one with a floor; the lowest of
 * them all bounds what may be trimmed.
 *
 * - A group that there is has done what is below its lowest pending entry, which is in hand or set aside, and not above the last id that was delivered to it.
 * - Nothing above its mark is done: a group that is lost is made again there. One that is registered and lost has done what is below its mark, or nothing.
 * - While a group is lost, or has yet to get back what was set aside, the lowest id of its indexes counts as well.
 * - What a registration, a floor (an id, or an age: `age <ms>`, `age` for ever) or the caller keeps stays.
 */
export const LUA_DONE_BY_GROUPS = `
local done, order, unregistered, others = {}, {}, {}, {}
local function lowerOf(field, name, id, why)
  if not done[field] then order[#order + 1] = field end
  if not done[field] or sortable(id) < sortable(done[field][1]) then done[field] = {id, why, name} end
end
local function lower(name, id, why) lowerOf('since:' .. name, name, id, why) end
local function lowestOfIndex(name, due, waiting)
  local places = (beside('ZCARD', due) or 0) + (beside('ZCARD', waiting) or 0)
  if places == 0 then return end
  if places > ${MAX_INDEXED} then return lower(name, '0-0', 'healing') end
  for _, id in ipairs(beside('ZRANGE', due, 0, -1) or {}) do
    if idOr(id, nil) and id:find('-', 1, true) then lower(name, before(id), 'healing') end
  end
  for _, text in ipairs(beside('ZRANGE', waiting, 0, -1) or {}) do
    local ms, seq = text:match('\\n[A-T](%d+)[A-T](%d+):%d+$')
    if ms then lower(name, before(ms .. '-' .. seq), 'healing') end
  end
end
local registered = {}
local texts = beside('HGETALL', registry) or {}
for i = 1, #texts, 2 do registered[texts[i]] = texts[i + 1] end
local groups = redis.pcall('XINFO', 'GROUPS', stream)
if groups.err then
  if not groups.err:find('no such key', 1, true) then return groups end
  groups = {}
end
local there = {}
for _, info in ipairs(groups) do
  local fields = {}
  for i = 1, #info, 2 do fields[info[i]] = info[i + 1] end
  there[fields.name] = fields
end
-- what is no UTF-8 reaches no client as it is
for name in pairs(there) do
  if name:gsub('[\\240-\\244][\\128-\\191][\\128-\\191][\\128-\\191]', ' '):gsub('[\\224-\\239][\\128-\\191][\\128-\\191]', ' '):gsub('[\\194-\\223][\\128-\\191]', ' '):find('[\\128-\\255]') then denied[name] = true end
end
local function isNew(name) return not at[name] and not ignored[name] and not denied[name] end
for name in pairs(registered) do if isNew(name) then others[#others + 1] = name end end
for name in pairs(there) do if isNew(name) and not registered[name] then others[#others + 1] = name end end
if #others > 0 then return {'groups', others} end

local counted = 0
for name, n in pairs(at) do
  local group = there[name]
  if not ignored[name] and (group or registered[name]) then
    counted = counted + 1
    local state, due, waiting = unpack(KEYS, n, n + 2)
    local owner = beside('HGET', state, 'stream')
    local isOwn = not owner or owner == stream
    local mark = isOwn and idOr(beside('HGET', state, 'mark'), nil)
    if mark and not mark:find('-', 1, true) then mark = mark .. '-0' end
    if group then
      lower(name, group['last-delivered-id'], 'unread')
      local pending = redis.call('XPENDING', stream, name)
      group.pendingFrom = pending[1] > 0 and pending[2] or nil
      if group.pendingFrom then lower(name, before(group.pendingFrom), 'pending') end
      if mark then lower(name, mark, 'mark') end
      if isOwn and beside('HEXISTS', state, 'healing') == 1 then lowestOfIndex(name, due, waiting) end
      if not registered[name] then unregistered[#unregistered + 1] = name end
    else
      lower(name, mark or '0-0', 'lost')
      if isOwn then lowestOfIndex(name, due, waiting) end
    end
    local isRead, registration = pcall(cjson.decode, registered[name] or '{}')
    local keepMs = isRead and type(registration) == 'table' and tonumber(registration.retentionMs) or 0
    if keepMs > 0 then lower(name, before(num(math.max(0, now - keepMs)) .. '-0'), 'retention') end
  end
end
for name in pairs(denied) do
  if (there[name] or registered[name]) and not ignored[name] then
    counted = counted + 1
    lower(name, '0-0', 'denied')
    if not registered[name] then unregistered[#unregistered + 1] = name end
  end
end
if counted == 0 and needsGroups == '1' then lowerOf('sinceNoGroups', '', '0-0', 'no-groups') end
local kept = beside('HGETALL', floors) or {}
for i = 1, #kept, 2 do
  local name, text = kept[i], kept[i + 1]
  local field, ageMs = 'sinceFloor:' .. name, text:match('^age (%d+)$')
  if text == 'age' then lowerOf(field, name, '0-0', 'letters')
  elseif ageMs then lowerOf(field, name, before(num(math.max(0, now - tonumber(ageMs))) .. '-0'), 'letters')
  elseif idOr(text, nil) and text:find('-', 1, true) then lowerOf(field, name, before(text), 'floor') end
end
if keepFrom ~= '' then lowerOf('sinceFloor:keepFrom', 'keepFrom', before(keepFrom), 'floor') end
local safe
for _, field in ipairs(order) do
  if not safe or sortable(done[field][1]) < sortable(safe) then safe = done[field][1] end
end
local function isSafe(id) return not safe or sortable(id) <= sortable(safe) end
`
