import { PARKED_CONSUMER } from '../../../core/keys.ts'
import { LAST_ERROR_FIELDS } from '../../last-error.ts'
import { ORDER_POLICY, SUSPECTS_CONDITION, UNPLACED_CONDITION } from '../../ordering.ts'
import { LUA_WAITING_CONDITIONS } from '../scripts/aside.ts'
import type { ScriptEdit } from './edited.ts'
import { LUA_AWAITED_LETTERS } from './letters-in-order.ts'

/** KEYS of every script that knows lanes end with the state, the lanes, the hash of their members and the letters that keys wait for: they are taken off first. */
export const LUA_LANE_KEYS = `
local awaited, laneOf, lanes, orderState = table.remove(KEYS), table.remove(KEYS), table.remove(KEYS), table.remove(KEYS)
`

/** Waiting in order is no condition that anybody has to inspect: there may be a hundred thousand lanes. */
export const SKIPS_LANES: ScriptEdit = [
  LUA_WAITING_CONDITIONS,
  LUA_WAITING_CONDITIONS.replace(
    "if condition then found[#found + 1], from = condition, '[' .. condition .. '\\11'",
    `if condition and condition:sub(1, ${ORDER_POLICY.length + 1}) == '${ORDER_POLICY} ' then from = '(${ORDER_POLICY}!'
    elseif condition then found[#found + 1], from = condition, '[' .. condition .. '\\11'`,
  ),
]

/**
 * A lane is a key with something undone that no run holds. Its first member stands where it would without order, as in the index of due times; the others wait
 * for the condition that the lane is named by, in order of ids, at no look. When the first is pending no more, the next takes its place in the same step.
 *
 * A dead letter that its key waits for stands in the lane in place of its entry: nothing behind it starts (`letters-in-order.ts`).
 *
 * `noMember(id)` takes an entry out of the hash of members, with its last error, `leave(id)` says that it is pending no more, `putInLane(id, count, key, score, member, lane)` sets one aside as `aside` does, behind those that go before it, and
 * `place(id, count, lane, isSuspect)` makes a member of an entry that is set aside already.
 *
 * Needs ASIDE and the locals stream, group, due, waiting, now.
 */
export const LUA_LANES = `
local function less(a, b) return sortable(a) < sortable((b:gsub('^#', ''))) end
local function laneOfEntry(id)
  local text = beside('HGET', laneOf, id)
  if not text then return nil, false end
  if text:sub(1, 1) == '!' then return text:sub(2), true end
  return text, false
end
local function noMember(id)
  beside('HDEL', laneOf, id)
  beside('HDEL', orderState, '${LAST_ERROR_FIELDS}' .. id)
end
local function pendingEntry(id) return redis.call('XPENDING', stream, group, id, id, 1)[1] end
local orderHealing
-- what a lost group has not made pending again yet is made so now
local function madePending(id, count)
  local p = pendingEntry(id)
  if p then return p end
  if orderHealing == nil then orderHealing = idOr(beside('HGET', orderState, 'healing'), nil) or false end
  if not orderHealing or less(orderHealing, id) then return nil end
  local made = redis.call('XCLAIM', stream, group, '${PARKED_CONSUMER}', 0, id, 'IDLE', 0, 'RETRYCOUNT', num(count), 'FORCE', 'JUSTID')[1]
  return made and {id, '${PARKED_CONSUMER}', 0, count}
end
-- the first of those that wait behind the first
local function firstBehind(lane)
  while true do
    local text = (beside('ZRANGEBYLEX', waiting, '[' .. lane .. '\\n', '(' .. lane .. '\\11', 'LIMIT', 0, 1) or {})[1]
    if not text then return nil end
    local _, id, count = parts(text)
    local p = id and madePending(id, count)
    if p and p[2] == '${PARKED_CONSUMER}' and laneOfEntry(id) == lane and #redis.call('XRANGE', stream, id, id) > 0 then return text, id, saturated(p[4]) end
    redis.call('ZREM', waiting, text)
    if p and p[2] == '${PARKED_CONSUMER}' and laneOfEntry(id) == lane then redis.call('XACK', stream, group, id) p = nil end
    if id and not p then noMember(id) end
  end
end
local function toStart(id, count)
  local _, isSuspect = laneOfEntry(id)
  if isSuspect then
    beside('ZREM', due, id)
    beside('ZADD', waiting, 0, member('${SUSPECTS_CONDITION}', id, count))
  else beside('ZADD', due, score(now, count), id) end
end
${LUA_AWAITED_LETTERS}
local function handOn(lane)
  local text, id, count = firstBehind(lane)
  local letter = awaitedIn(lane)
  if letter and not (text and less(id, letter)) then beside('HSET', lanes, lane, '#' .. letter) return end
  if not text then beside('HDEL', lanes, lane) return end
  redis.call('ZREM', waiting, text)
  beside('HSET', lanes, lane, id)
  toStart(id, count)
end
local function leave(id)
  local lane = laneOfEntry(id)
  if not lane then return end
  noMember(id)
  if beside('HGET', lanes, lane) == id then handOn(lane) end
end
-- the first of a lane, if it is there still
local function firstOf(lane)
  local first = beside('HGET', lanes, lane)
  if not first or isLetter(first) or madePending(first, countOf(beside('ZSCORE', due, first))) then return first end
  leave(first)
  return beside('HGET', lanes, lane)
end
-- takes the first of a lane back behind others, unless it is under way
local function yields(first, lane)
  if isLetter(first) then return true end
  local p = pendingEntry(first)
  if not p or p[2] ~= '${PARKED_CONSUMER}' then return false end
  local count, at = saturated(p[4]), tonumber(beside('ZSCORE', due, first) or '')
  if at and at < RUNNING then redis.call('ZREM', due, first)
  elseif beside('ZREM', waiting, member('${SUSPECTS_CONDITION}', first, count)) ~= 1 then return false end
  beside('ZADD', waiting, 0, member(lane, first, count))
  return true
end
local function comesBefore(lane, id)
  local letter = awaitedIn(lane)
  if letter and less(letter, id) then return true end
  local text, before = firstBehind(lane)
  return text and less(before, id)
end
-- the first of a lane that an entry is to be put in, whose own letter nobody waits for any more
local function firstBeside(lane, id)
  local first = firstOf(lane)
  awaitNoMore(lane, id)
  if first == '#' .. id then return false end
  return first
end
local function putInLane(id, count, key, at, text, lane)
  lane = laneOfEntry(id) or lane
  if not lane or lane == '' then return aside(id, count, waiting, 0, member('${UNPLACED_CONDITION}', id, count)) end
  local first = firstBeside(lane, id)
  local hasYielded = first and first ~= id and less(id, first) and yields(first, lane)
  local givesWay = first == id and comesBefore(lane, id)
  local isBehind = givesWay or first and first ~= id and not hasYielded
  local isHere
  if isBehind then isHere = aside(id, count, waiting, 0, member(lane, id, count)) else isHere = aside(id, count, key, at, text) end
  if not isHere then
    if hasYielded or first == false then handOn(lane) end
    return false
  end
  beside('HSET', laneOf, id, lane)
  if givesWay then handOn(lane)
  elseif not isBehind then beside('HSET', lanes, lane, id) end
  return true
end
-- a first member whose process died goes behind one that is to go before it, as one that was redriven
local function givesWay(id, count, lane)
  if not comesBefore(lane, id) or not hand('${PARKED_CONSUMER}', id, count) then return false end
  beside('ZREM', due, id)
  beside('HSET', laneOf, id, '!' .. lane)
  beside('ZADD', waiting, 0, member(lane, id, count))
  handOn(lane)
  return true
end
local function place(id, count, lane, isSuspect)
  beside('HSET', laneOf, id, (isSuspect and '!' or '') .. lane)
  local first = firstBeside(lane, id)
  if not first or first == id or less(id, first) and yields(first, lane) then
    if comesBefore(lane, id) then
      beside('ZREM', due, id)
      beside('ZADD', waiting, 0, member(lane, id, count))
      return handOn(lane)
    end
    beside('HSET', lanes, lane, id)
    -- what waits for a time, or for a condition, goes on waiting for it
    if isSuspect or not beside('ZSCORE', due, id) or first == id then toStart(id, count) end
  else
    beside('ZREM', due, id)
    beside('ZADD', waiting, 0, member(lane, id, count))
  end
end
`
