import { PARKED_CONSUMER } from '../../../core/keys.ts'
import { LANES_FROM, LANES_TO, UNPLACED_CONDITION } from '../../ordering.ts'
import { LUA_READ_KEYS_BESIDE_GROUP } from '../scripts/fence.ts'
import { SEES_PAUSES } from '../scripts/pauses.ts'
import { NOT_READ_ANSWERS, PENDING_LIMIT_FLAG_MS } from '../scripts/read-unless-pending-limit.ts'
import type { LuaScript } from '../scripts/script.ts'
import { LUA_LANE_KEYS } from './lanes.ts'

/** What the script answers besides NOT_READ_ANSWERS: something is pending that no lane has. */
export const UNPLACED_ANSWER = 9

/** The same: something waits in a lane that has no first member, or waits for no letter any more. Somebody has deleted keys by hand. */
export const STANDING_ANSWER = 10

/** Lanes that the first read of a run inspects for that, at most: the next goes on behind them. */
const LANES_AT_ONCE = 100

/** What pollers' names begin with. */
export const POLLER_NAMES = 'poller-'

/** `lastDelivered()` is the id that a group was read to; `undefined` where there is none. Needs the locals stream, group. */
export const LUA_LAST_DELIVERED = `
local function lastDelivered()
  -- where there is no stream, what follows says so as all else does
  for _, info in ipairs(redis.pcall('XINFO', 'GROUPS', stream)) do
    local fields = {}
    for i = 1, #info, 2 do fields[info[i]] = info[i + 1] end
    if fields.name == group then return fields['last-delivered-id'] end
  end
end
`

/**
 * Reads new entries, if the slot is still ours. The first read of a run reads nothing while something is pending that no lane has: what a dead poller held, what was redriven, what was
 * set aside before the group kept order. A later one gives what a read before it brought that its run has not heard of: clients send a request again whose answer is lost, and what
 * comes next must not go before it.
 *
 * What was read before, and is in no lane, is acknowledged by the same call: nobody but the holder of the slot can have any of it.
 *
 * KEYS stream, lease, waiting, the flag of publishers, paused, state, the keys of lanes. ARGV group, consumer, token, count, max pending ('' any number), max set aside, the id above which this run
 * has read nothing ('' its first read), 1 if keys wait for dead letters, 1 if it has made members of all that is pending, then ids to acknowledge. Answers an array: what XREADGROUP does, or a number of
 * NOT_READ_ANSWERS, or 9 or 10; as a first read sees it 1 if there are lanes, 2 if keys wait for dead letters; the id above which nothing was read; how many of the ids were pending, -1 if the slot went to another; the text of
 * what is paused, and the server's time.
 */
export const readInOrderScript: LuaScript = {
  keyCount: 9,
  lua: `
${LUA_LANE_KEYS}
local stream, lease, waiting, flag, paused = unpack(KEYS)
local group, consumer, token, count, max, maxParked, after, waits, placed = unpack(ARGV, 1, 9)
local isFirst = after == ''
${LUA_READ_KEYS_BESIDE_GROUP}
${SEES_PAUSES}
${LUA_LAST_DELIVERED}
local ours, text = leaseAndPauses()
local members, last, acked = 0, nil, -1
local hasLanes = 0
local function answer(is) return seeing({is, hasLanes, last or '', acked}) end
if isFirst then
  members = redis.call('HLEN', laneOf)
  hasLanes = beside('EXISTS', awaited) == 1 and 2 or members > 0 and 1 or 0
end
see(text)
if token == '' or not ours then return answer(${NOT_READ_ANSWERS.slotLost}) end
if #ARGV > 9 then acked = redis.call('XACK', stream, group, unpack(ARGV, 10)) end
if isAllPaused then return answer(${NOT_READ_ANSWERS.paused}) end
if not isFirst then
  local unheard, entries = nil, {}
  repeat
    unheard = redis.call('XPENDING', stream, group, '(' .. after, '+', count, consumer)
    -- what was trimmed meanwhile is passed
    for _, p in ipairs(unheard) do entries[#entries + 1], after = redis.call('XRANGE', stream, p[1], p[1])[1], p[1] end
  until #entries > 0 or #unheard == 0
  last = after
  if #entries > 0 then return answer({{stream, entries}}) end
else last = lastDelivered() end
if max ~= '' or isFirst then
  local pending, parked, ofPollers = redis.call('XPENDING', stream, group), 0, 0
  for _, c in ipairs(pending[4] or {}) do
    if c[1] == '${PARKED_CONSUMER}' then parked = tonumber(c[2])
    elseif c[1]:sub(1, ${POLLER_NAMES.length}) == '${POLLER_NAMES}' then ofPollers = ofPollers + c[2] end
  end
  -- runs without order give back what waits: then members are neither the first of their lane nor behind it
  local function isLoose()
    local behind = beside('ZLEXCOUNT', waiting, '[${LANES_FROM}', '(${LANES_TO}') or 0
    return members > behind + (beside('HLEN', lanes) or 0)
  end
  local function unplaced() return (beside('ZRANGEBYLEX', waiting, '[${UNPLACED_CONDITION}\\n', '(${UNPLACED_CONDITION}\\11', 'LIMIT', 0, 1) or {})[1] end
  local function hasFirst(lane)
    local first = beside('HGET', lanes, lane)
    if not first or first:sub(1, 1) ~= '#' then return first end
    return (beside('ZRANGEBYLEX', awaited, '[' .. lane .. '\\n', '(' .. lane .. '\\11', 'LIMIT', 0, 1) or {})[1]
  end
  local function isStanding()
    if members == 0 then return false end
    local from = beside('HGET', orderState, 'inspected')
    local at = from or '[${LANES_FROM}'
    for _ = 1, ${LANES_AT_ONCE} do
      local text = (beside('ZRANGEBYLEX', waiting, at, '(${LANES_TO}', 'LIMIT', 0, 1) or {})[1]
      local lane = text and text:match('^(.*)\\n')
      if not lane then
        if from then beside('HDEL', orderState, 'inspected') end
        return false
      end
      if not hasFirst(lane) then return true end
      at = '(' .. lane .. '\\11'
    end
    beside('HSET', orderState, 'inspected', at)
    return false
  end
  if isFirst and placed ~= '1' and isStanding() then return answer(${STANDING_ANSWER}) end
  if isFirst and waits == '0' and beside('EXISTS', awaited) == 1 then return answer(${UNPLACED_ANSWER}) end
  -- what a run without order has read since may be as much as it has settled of the lanes
  local function isReadSince() return placed ~= '1' and pending[1] > 0 and beside('HGET', orderState, 'read') ~= last end
  if isFirst and (ofPollers > 0 or pending[1] ~= members or isLoose() or unplaced() or isReadSince()) then return answer(${UNPLACED_ANSWER}) end
  if max ~= '' and (pending[1] - parked > tonumber(max) or parked > tonumber(maxParked)) then
    redis.pcall('SETNX', flag, 'held')
    redis.pcall('GETEX', flag, 'PX', ${PENDING_LIMIT_FLAG_MS})
    return answer(parked > tonumber(maxParked) and ${NOT_READ_ANSWERS.parkedLimit} or ${NOT_READ_ANSWERS.pendingLimit})
  end
end
return answer(redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count, 'STREAMS', stream, '>'))
`,
}

/**
 * Acknowledges what was read before, and is in no lane, ahead of a read in the same write, as `readInOrderScript` does.
 *
 * KEYS stream, lease, paused. ARGV group, token, then ids to acknowledge. Answers 2 if the slot went to another, else 0; 0; ''; how many of the ids were pending, -1 if the slot went to another; the text of what is paused, and the
 * server's time.
 */
export const ackBeforeReadScript: LuaScript = {
  keyCount: 3,
  lua: `
local seen = redis.call('MGET', KEYS[2], KEYS[3])
local text, now = seen[2], ''
if text then
  local time = redis.call('TIME')
  now = ('%.0f'):format(time[1] * 1000 + math.floor(time[2] / 1000))
end
if ARGV[2] == '' or seen[1] ~= ARGV[2] then return {${NOT_READ_ANSWERS.slotLost}, 0, '', -1, text, now} end
return {0, 0, '', #ARGV > 2 and redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 3)) or 0, text, now}
`,
}

/**
 * Says of lanes whether they are there, or have one of some entries that is still under the slot's name: the outcome of such a one is not stored.
 *
 * KEYS stream, lanes. ARGV group, consumer, then for each lane its name, a number of ids, the ids. Answers 1 or 0 for each, then 1 if there are lanes.
 */
export const lanesThereScript: LuaScript = {
  keyCount: 2,
  lua: `
local stream, lanes = unpack(KEYS)
-- there may be more of them than a call takes
local group, consumer = ARGV[1], ARGV[2]
local out, at = {}, 3
while at <= #ARGV do
  local isThere = redis.call('HEXISTS', lanes, ARGV[at])
  local last = at + 1 + ARGV[at + 1]
  for i = at + 2, last do
    if isThere == 0 and redis.call('XPENDING', stream, group, ARGV[i], ARGV[i], 1, consumer)[1] then isThere = 1 end
  end
  out[#out + 1], at = isThere, last + 1
end
out[#out + 1] = redis.call('HLEN', lanes) > 0 and 1 or 0
return out
`,
}
