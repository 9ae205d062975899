import { PARKED_CONSUMER } from '../../../core/keys.ts'
import { UNPLACED_CONDITION } from '../../ordering.ts'
import { LUA_READ_KEYS_BESIDE_GROUP } from '../scripts/fence.ts'
import { SEES_PAUSES } from '../scripts/pauses.ts'
import { NOT_READ_ANSWERS, PENDING_LIMIT_FLAG_MS } from '../scripts/read-unless-pending-limit.ts'
import type { LuaScript } from '../scripts/script.ts'
import { LUA_LANE_KEYS } from './lanes.ts'

/** What the script answers besides NOT_READ_ANSWERS: something is pending that no lane has. */
export const UNPLACED_ANSWER = 9

/** What pollers' names begin with. */
export const POLLER_NAMES = 'poller-'

/**
 * Reads new entries, if the slot is still ours. The first read of a run reads nothing while something is pending that no lane has: what a dead poller held, what was redriven, what was
 * set aside before the group kept order.
 *
 * KEYS stream, lease, waiting, the flag of publishers, paused, state, lanes, the hash of their members. ARGV group, consumer, token, count, max pending ('' any number), max set aside, 1 for a run's first
 * read. Answers an array: what XREADGROUP does, or a number of NOT_READ_ANSWERS, or 9; 1 if there are lanes; the text of what is paused, and the server's time.
 */
export const readInOrderScript: LuaScript = {
  keyCount: 8,
  lua: `
${LUA_LANE_KEYS}
local stream, lease, waiting, flag, paused = unpack(KEYS)
local group, consumer, token, count, max, maxParked, isFirst = unpack(ARGV)
${LUA_READ_KEYS_BESIDE_GROUP}
${SEES_PAUSES}
local ours, text = leaseAndPauses()
local members
local function answer(is) return seeing({is, members > 0 and 1 or 0}) end
members = redis.call('HLEN', laneOf)
see(text)
if token == '' or not ours then return answer(${NOT_READ_ANSWERS.slotLost}) end
if isAllPaused then return answer(${NOT_READ_ANSWERS.paused}) end
if max ~= '' or isFirst == '1' then
  local pending, parked, ofPollers = redis.call('XPENDING', stream, group), 0, 0
  for _, c in ipairs(pending[4] or {}) do
    if c[1] == '${PARKED_CONSUMER}' then parked = tonumber(c[2])
    elseif c[1]:sub(1, ${POLLER_NAMES.length}) == '${POLLER_NAMES}' then ofPollers = ofPollers + c[2] end
  end
  local function unplaced() return (beside('ZRANGEBYLEX', waiting, '[${UNPLACED_CONDITION}\\n', '(${UNPLACED_CONDITION}\\11', 'LIMIT', 0, 1) or {})[1] end
  if isFirst == '1' and (ofPollers > 0 or pending[1] ~= members or unplaced()) then return answer(${UNPLACED_ANSWER}) end
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
 * Says of lanes whether they are there, or have one of some entries that is still under the slot's name: the outcome of such a one is not stored.
 *
 * KEYS stream, lanes, the hash of their members. ARGV group, consumer, then for each lane its name, a number of ids, the ids. Answers 1 or 0 for each, then 1 if there are lanes.
 */
export const lanesThereScript: LuaScript = {
  keyCount: 3,
  lua: `
local stream, lanes, laneOf = unpack(KEYS)
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
out[#out + 1] = redis.call('HLEN', laneOf) > 0 and 1 or 0
return out
`,
}
