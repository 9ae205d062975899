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

/** `noted()` is the field of a group's state that says what the last take brought; with two under way each has its own, by what its nonce ends with behind the UUID. */
export const LUA_NOTED = `local function noted() return 'took:' .. consumer .. nonce:sub(37) end`

/**
 * Looks up what may be taken: of the index, then of the conditions. What of a page is set aside is looked up by one command, between its lowest and its highest id; ids with more digits than a number
 * holds exactly, and what is not found so, as there is much between, each by itself. What is found is its row of the pending list (id, owner, idle time, count) and whether it waited for a condition.
 * `seen` is there once conditions are inspected, since an entry may wait for several. The counts of a lost group are those of the index.
 */
const FIND = `
local found, looked, passed, isMore = {}, 0, 0, 0
local function lookUp(ids)
  local low, lowMs, lowSeq, high, highMs, highSeq
  for n = 1, #ids do
    local ms, seq = ids[n]:match('^(%d+)%-(%d+)$')
    if ms and #ms < 16 and #seq < 16 then
      ms, seq = ms + 0, seq + 0
      if not low or ms < lowMs or ms == lowMs and seq < lowSeq then low, lowMs, lowSeq = ids[n], ms, seq end
      if not high or ms > highMs or ms == highMs and seq > highSeq then high, highMs, highSeq = ids[n], ms, seq end
    end
  end
  local rows = low and redis.call('XPENDING', stream, group, low, high, 2 * #ids, '${PARKED_CONSUMER}') or {}
  local own = {}
  for n = 1, #rows do own[rows[n][1]] = rows[n] end
  return own
end
-- what is no longer pending is forgotten; what a lost group has not made pending again yet is made so now
local function pendingOf(id, count)
  if not isId(id) then return nil end
  local p = redis.call('XPENDING', stream, group, id, id, 1, '${PARKED_CONSUMER}')[1]
  if p or not healing or sortable(id) > sortable(healing) or redis.call('XPENDING', stream, group, id, id, 1)[1] then return p end
  local made = redis.call('XCLAIM', stream, group, '${PARKED_CONSUMER}', 0, id, 'IDLE', 0, 'RETRYCOUNT', num(count), 'FORCE', 'JUSTID')[1]
  return made and {id, '${PARKED_CONSUMER}', 0, count}
end
local function lose(id)
  redis.call('XACK', stream, group, id)
  lost[#lost + 1] = id
end
local seen
-- true if it is to be taken; it has left the set of conditions by then, and leaves the index of times if it is not
local function look(id, count, own, waits)
  looked = looked + 1
  if seen and seen[id] then return true end
  local p = own[id] or pendingOf(id, count)
  if not p then return false end
  local condition = closedFor(id)
  if condition and not refuses('ZADD', waiting, 0, member(condition, id, p[4])) then return false end
  if condition then
    passed = passed + 1
    return nil
  end
  p[4], p[5] = saturated(p[4]), waits
  found[#found + 1] = p
  if seen then seen[id] = true end
  return true
end

local offset = 0
repeat
  local query = {'ZRANGEBYSCORE', due, '-inf', dueBy(till), 'LIMIT', offset, math.min(100, room - #found)}
  if healing then query[#query + 1] = 'WITHSCORES' end
  local page, counts = beside(unpack(query)) or {}, {}
  if healing then
    local both = page
    page = {}
    for i = 1, #both, 2 do page[#page + 1], counts[#counts + 1] = both[i], countOf(both[i + 1]) end
  end
  local own = lookUp(page)
  for i = 1, #page do
    local isTaken = look(page[i], counts[i], own)
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
  if not seen then
    seen = {}
    for _, f in ipairs(found) do seen[f[1]] = true end
  end
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

/** Starts what was found (counts as the answer and the index have them are made once each), in chunks of neighbours; what has its last delivery, or none, before it is handed over as it is. */
const TAKE = `
local entries, bytes, chunk, places, note = {}, 0, {}, {'ZADD', due}, {nonce .. ' '}
local most, last = math.huge, max - 1
if room_bytes ~= '' then most = tonumber(room_bytes) end

local texts, scores = {}, {}
local function keep(f, count, body)
  local id = f[1]
  if not texts[count] then texts[count], scores[count] = num(count), running(count) end
  entries[#entries + 1] = {id, texts[count], body, f[3]}
  places[#places + 1], places[#places + 2] = scores[count], id
  note[#note + 1] = id .. '=' .. texts[count] .. (body and '=1\\n' or '=0\\n')
end
local function startChunk()
  if #chunk == 0 then return end
  local claim, got = {'XCLAIM', stream, group, consumer, 0}, {}
  for n = 1, #chunk do claim[5 + n] = chunk[n][1] end
  local answers = redis.call(unpack(claim))
  for n = 1, #answers do
    local entry = answers[n]
    if entry then
      local body = entry[2]
      got[entry[1]] = body
      for i = 1, #body do bytes = bytes + #body[i] end
    end
  end
  for n = 1, #chunk do
    local f = chunk[n]
    local body = got[f[1]]
    if body then keep(f, f[4] + 1, body)
    else lose(f[1]) beside('ZREM', due, f[1]) end
  end
  chunk = {}
end
local size = ${CHUNK}
for n = 1, #found do
  local f = found[n]
  if #chunk == size then
    startChunk()
    if #entries > 0 then size = math.max(1, math.min(100, math.floor((most - bytes) / (1 + bytes / #entries)))) end
  end
  if bytes >= most then
    isMore = 1
    -- no room: it waits on, due at once
    if f[5] then aside(f[1], f[4], due, score(till, f[4]), f[1]) end
  elseif f[4] >= last then
    if gone(f[1]) or not redis.call('XCLAIM', stream, group, consumer, 0, f[1], 'JUSTID')[1] then lose(f[1]) beside('ZREM', due, f[1])
    else keep(f, f[4], false) end
  else chunk[#chunk + 1] = f end
end
startChunk()
if #places > 2 then beside(unpack(places)) end
-- what this call passed over, the next would, too
local function hasDue(offset) return #(beside('ZRANGEBYSCORE', due, '-inf', dueBy(till), 'LIMIT', offset, 1) or {}) > 0 end
if looked > passed then
  if hasDue(passed + room) then isMore = 2 elseif hasDue(passed) then isMore = 1 end
end
if #entries > 0 then beside('HSET', state, noted(), table.concat(note)) end`

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
 * something waits for, 1 if there is more to take, 2 if more than as many again is due, and the text of what is paused (nil: nothing is) with the server's time.
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
${LUA_NOTED}

local took = beside('HGET', state, noted())
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
