import { AGING_CONSUMER, PARKED_CONSUMER } from '../../../core/keys.ts'
import { LUA_HIGHEST_DUE_SCORE, LUA_NEXT_DUE_MS, LUA_SET_ASIDE, LUA_WAITING_CONDITIONS } from './aside.ts'
import { LUA_FENCE, LUA_IS_TRIMMED, LUA_NOW_MS, LUA_READ_KEYS_BESIDE_GROUP } from './fence.ts'
import { SEES_PAUSES } from './pauses.ts'
import type { LuaScript } from './script.ts'

/** Members of an index that one call inspects, at most. */
const LOOKS = 1_000

/** Entries that one XCLAIM starts before it is known how many bytes they have. */
const CHUNK = 10

/** Whether entries of a type are not to be started now: those that the caller names, and those of guards. */
export const GUARDED = `
local sets = {}
for n = 7, #KEYS do
  if ARGV[10 + values + n - 6] == 'values' then sets[#sets + 1] = KEYS[n]
  elseif redis.call('EXISTS', KEYS[n]) == 1 then closed = true end
end
inspects = inspects or field ~= '' and #sets > 0
function isClosed(value)
  if left[value] == nil then
    left[value] = false
    for _, set in ipairs(sets) do if beside('SISMEMBER', set, value) == 1 then left[value] = true end end
  end
  return left[value]
end
`

const closedBy = (guards: string) => `
local closed, left = isAllPaused, {}
for i = 11, 10 + values do left[ARGV[i]] = true end
local inspects = field ~= '' and (next(left) or next(pausedTypes))
local function isClosed(value) return left[value] end
${guards}
-- what keeps a type from being started is part of a condition, where control characters have no place
local function conditionOf(reason, value) return reason .. ' ' .. value:gsub('[%c%%]', function(c) return ('%%%02X'):format(c:byte()) end) end
local function closedFor(id)
  local entry = inspects and redis.call('XRANGE', stream, id, id)[1]
  if not entry then return nil end
  for i = 1, #entry[2], 2 do
    local value = entry[2][i + 1]
    if entry[2][i] == field then
      if pausedTypes[value] then return conditionOf('paused', value) end
      if isClosed(value) then return conditionOf('held', value) end
    end
  end
end
local function isOpen(condition)
  local reason, text = condition:match('^(%a+) (.*)$')
  local value = text and text:gsub('%%(%x%x)', function(hex) return string.char(tonumber(hex, 16)) end)
  if reason == 'held' then return not isClosed(value) end
  return reason == 'paused' and not pausedTypes[value]
end
`

/** Looks up what may be taken: of the index, then of the conditions. */
const FIND = `
local found, seen, looked, passed, isMore = {}, {}, 0, 0, 0
-- looks up what of a page is set aside: its neighbours by one command, what is far from them by itself
local function lookUp(ids)
  local low, high, rows
  for _, id in ipairs(ids) do
    if isId(id) then
      if not low or sortable(id) < sortable(low) then low = id end
      if not high or sortable(id) > sortable(high) then high = id end
    end
  end
  rows = low and redis.call('XPENDING', stream, group, low, high, 2 * #ids, '${PARKED_CONSUMER}') or {}
  local own = {}
  for _, p in ipairs(rows) do own[p[1]] = p end
  return function(id)
    if own[id] or #rows < 2 * #ids then return own[id] end
    return redis.call('XPENDING', stream, group, id, id, 1, '${PARKED_CONSUMER}')[1]
  end
end
-- what is no longer pending is forgotten; what a lost group has not made pending again yet is made so now
local function pendingOf(id, count, own)
  local p = own(id)
  if p or not healing or sortable(id) > sortable(healing) or redis.call('XPENDING', stream, group, id, id, 1)[1] then return p end
  local made = redis.call('XCLAIM', stream, group, '${PARKED_CONSUMER}', 0, id, 'IDLE', 0, 'RETRYCOUNT', num(count), 'FORCE', 'JUSTID')[1]
  return made and {id, '${PARKED_CONSUMER}', 0, count}
end
local function lose(id)
  redis.call('XACK', stream, group, id)
  lost[#lost + 1] = id
end
-- true if it is to be taken; it has left the set of conditions by then, and leaves the index of times if it is not
local function look(id, count, own, waits)
  looked = looked + 1
  if seen[id] then return true end -- it may wait for several conditions
  local p = isId(id) and pendingOf(id, count, own)
  if not p then return false end
  local condition = closedFor(id)
  if condition and not refuses('ZADD', waiting, 0, member(condition, id, p[4])) then return false end
  if condition then
    passed = passed + 1
    return nil
  end
  found[#found + 1] = {id, saturated(p[4]), waits, p[3]}
  seen[id] = true
  return true
end

local offset = 0
repeat
  local page = beside('ZRANGEBYSCORE', due, '-inf', dueBy(till), 'WITHSCORES', 'LIMIT', offset, math.min(100, room - #found)) or {}
  local ids = {}
  for i = 1, #page, 2 do ids[#ids + 1] = page[i] end
  local own = lookUp(ids)
  for i = 1, #page, 2 do
    local isTaken = look(page[i], countOf(page[i + 1]), own)
    if isTaken == false then beside('ZREM', due, page[i]) else offset = offset + 1 end
  end
until closed or #page == 0 or #found >= room or looked >= ${LOOKS}

local there = conditions()
-- what the caller names may be in view no more
for _, condition in ipairs(there) do
  if not wanted[condition] then named[#named + 1] = condition end
end
-- takes what waits for a condition from there on, until so many were found
local function takeWaiting(condition, first, most)
  while #found < most and looked < ${LOOKS} do
    local page = beside('ZRANGEBYLEX', waiting, first, '(' .. condition .. '\\11', 'LIMIT', 0, math.min(100, most - #found)) or {}
    if #page == 0 then break end
    beside('ZREM', waiting, unpack(page))
    local ids = {}
    for _, text in ipairs(page) do ids[#ids + 1] = select(2, parts(text)) end
    local own = lookUp(ids)
    for _, text in ipairs(page) do
      local _, id, count = parts(text)
      if id and look(id, count, own, true) == nil then hand('${AGING_CONSUMER}', id, count) end
    end
  end
end
`

/** Takes all that waits for conditions that hold. */
const FIND_NAMED = `
for _, condition in ipairs(named) do
  if wanted[condition] or isOpen(condition) then
    local first = '[' .. condition .. '\\n'
    takeWaiting(condition, first, room)
    if beside('ZRANGEBYLEX', waiting, first, '(' .. condition .. '\\11', 'LIMIT', 0, 1)[1] then isMore = 1 end
  end
end`

/** Starts what was found, in chunks of neighbours; what has its last delivery, or none, before it is handed over as it is. */
const TAKE = `
local entries, bytes, chunk, places, note = {}, 0, {}, {'ZADD', due}, {nonce .. ' '}
local most = math.huge
if room_bytes ~= '' then most = tonumber(room_bytes) end

local function keep(f, count, body)
  local id = f[1]
  entries[#entries + 1] = {id, num(count), body, f[4]}
  places[#places + 1], places[#places + 2] = running(count), id
  note[#note + 1] = id .. '=' .. num(count) .. '=' .. (body and '1' or '0') .. '\\n'
end
local function startChunk()
  if #chunk == 0 then return end
  local claim, got = {'XCLAIM', stream, group, consumer, 0}, {}
  for _, f in ipairs(chunk) do claim[#claim + 1] = f[1] end
  for _, entry in ipairs(redis.call(unpack(claim))) do
    if entry then
      got[entry[1]] = entry[2]
      for _, value in ipairs(entry[2]) do bytes = bytes + #value end
    end
  end
  for _, f in ipairs(chunk) do
    if got[f[1]] then keep(f, f[2] + 1, got[f[1]])
    else lose(f[1]) beside('ZREM', due, f[1]) end
  end
  chunk = {}
end
local size = ${CHUNK}
for _, f in ipairs(found) do
  if #chunk == size then
    startChunk()
    if #entries > 0 then size = math.max(1, math.min(100, math.floor((most - bytes) / (1 + bytes / #entries)))) end
  end
  if bytes >= most then
    isMore = 1
    -- no room: it waits on, due at once
    if f[3] then aside(f[1], f[2], due, score(till, f[2]), f[1]) end
  elseif f[2] + 1 >= tonumber(max) then
    if gone(f[1]) or not redis.call('XCLAIM', stream, group, consumer, 0, f[1], 'JUSTID')[1] then lose(f[1]) beside('ZREM', due, f[1])
    else keep(f, f[2], false) end
  else chunk[#chunk + 1] = f end
end
startChunk()
if #places > 2 then beside(unpack(places)) end
-- what this call passed over, the next would, too
if looked > passed and #(beside('ZRANGEBYSCORE', due, '-inf', dueBy(till), 'LIMIT', passed, 1) or {}) > 0 then isMore = 1 end
if #entries > 0 then beside('HSET', state, 'took:' .. consumer, table.concat(note)) end`

/**
 * Takes what is due by the index, and what waits for the conditions named, and starts it: fenced, one delivery more, its idle clock restarted. What is at its
 * last delivery, or has none left, is handed over as it is, to be started alone, or to become a dead letter. What was taken stays in the index as running until its outcome is stored, so that a lost
 * group makes it pending again.
 *
 * Sent twice, it answers the same: what was taken is noted with the nonce. Nothing is taken while a guard's key is there. Entries of types that are not to be started now
 * go to a condition of their own, `paused TYPE` or `held TYPE`, and come back once the type is no longer paused or closed: a run that cannot start them does not
 * inspect them again. Of a group that is paused nothing is taken.
 *
 * KEYS stream, lease, due, waiting, state, paused. ARGV group, consumer, token, nonce, room, room in bytes ('' no bound), max deliveries, the ms since 1970 up to which an
 * entry is due ('' now), a field ('' none), the number of its values that are closed, the values, for each guard 'all' or 'values', then the conditions.
 * Answers 0 if the lease is gone, else the time up to which it looked, [id, count, fields or false, idle ms] an entry, the trimmed ids, in how many ms the next is due ('' none), the conditions that
 * something waits for, 1 if there is more to take, and the text of what is paused (nil: nothing is) with the server's time.
 */
export const takeSetAsideScript: LuaScript = { keyCount: 6, lua: takeBy('', '') }

/** The same with guards of policies: its own script, so that who uses none needs no right to ask for them. KEYS, after these, theirs. */
export const takeSetAsideGuardedScript: LuaScript = { keyCount: undefined, lua: takeBy(GUARDED, '') }

/** @param guards Lua that knows guards, or none. @param limited Lua that takes some of a condition only, or none. */
export function takeBy(guards: string, limited: string): string {
  return `
local stream, lease, due, waiting, state, paused = unpack(KEYS, 1, 6)
local group, consumer, token, nonce, room, room_bytes, max, till, field, values = unpack(ARGV, 1, 10)
room = tonumber(room)
${LUA_FENCE}
${LUA_IS_TRIMMED}
${LUA_NOW_MS}
${LUA_READ_KEYS_BESIDE_GROUP}
${LUA_SET_ASIDE}
${LUA_WAITING_CONDITIONS}
${LUA_NEXT_DUE_MS}
${LUA_HIGHEST_DUE_SCORE}
${SEES_PAUSES}
local ours, text = leaseAndPauses()
if not ours then return 0 end
-- a group that is gone ends it here: what left an index by then would be lost
redis.call('XPENDING', stream, group, '-', '+', 1)
see(text)
till = till == '' and now or tonumber(till)
local lost = {}

local took = beside('HGET', state, 'took:' .. consumer)
if type(took) == 'string' and took:sub(1, #nonce + 1) == nonce .. ' ' then
  local again = {}
  for id, count, isStarted in took:gmatch('(%d+%-%d+)=(%d+)=([01])\\n') do
    local entry = mine(id, count) and redis.call('XRANGE', stream, id, id)[1]
    if entry then again[#again + 1] = {id, count, isStarted == '1' and entry[2], 0} end
  end
  return seeing({num(till), again, lost, nextDue(), conditions(), 1})
end
${closedBy(guards)}
local wanted, named = {}, {}
for i = 11 + values + #KEYS - 6, #ARGV do wanted[ARGV[i]], named[#named + 1] = true, ARGV[i] end
if closed then return seeing({num(till), {}, lost, nextDue(), conditions(), 0}) end
local healing = idOr(beside('HGET', state, 'healing'), nil)
${FIND}${limited}${FIND_NAMED}
${TAKE}
return seeing({num(till), entries, lost, nextDue(), there, isMore})
`
}

/**
 * Gives back what a take brought whose answer was lost: due at once, its delivery given back. A take of that nonce that comes late finds it used.
 *
 * KEYS stream, lease, due, waiting, state. ARGV group, consumer, token, nonce. Answers how many.
 */
export const undoTakeScript: LuaScript = {
  keyCount: 5,
  lua: `
local stream, lease, due, waiting, state = unpack(KEYS)
local group, consumer, token, nonce = unpack(ARGV)
${LUA_FENCE}
${LUA_IS_TRIMMED}
${LUA_NOW_MS}
${LUA_READ_KEYS_BESIDE_GROUP}
${LUA_SET_ASIDE}
if not leased() then return 0 end
local took, given = beside('HGET', state, 'took:' .. consumer), 0
if type(took) == 'string' and took:sub(1, #nonce + 1) == nonce .. ' ' then
  for id, count, isStarted in took:gmatch('(%d+%-%d+)=(%d+)=([01])\\n') do
    if mine(id, count) then
      local left = count - isStarted
      aside(id, left, due, score(0, left), id)
      given = given + 1
    end
  end
end
-- a group that never was has nothing beside it
if redis.call('EXISTS', state) == 1 then beside('HSET', state, 'took:' .. consumer, nonce .. ' ') end
return given
`,
}
