import { AGING_CONSUMER, PARKED_CONSUMER } from '../../../core/keys.ts'
import { LANES_FROM, LANES_TO, UNPLACED_CONDITION } from '../../ordering.ts'
import { LUA_SET_ASIDE } from '../scripts/aside.ts'
import { LUA_FENCE, LUA_IS_TRIMMED, LUA_NOW_MS, LUA_READ_KEYS_BESIDE_GROUP } from '../scripts/fence.ts'
import { LUA_HOLDER_NOTES } from '../scripts/hand-back.ts'
import type { LuaScript } from '../scripts/script.ts'
import { LUA_LANE_KEYS, LUA_LANES } from './lanes.ts'
import { POLLER_NAMES } from './read-in-order.ts'

/** Entries that one call inspects. */
const LOOKS = 1_000

/** Entries that one call gives with their bodies, at most. */
export const MOST_UNPLACED = 100

const BEGIN = `
${LUA_LANE_KEYS}
local stream, lease, due, waiting = unpack(KEYS, 1, 4)
local group, consumer, token = unpack(ARGV, 1, 3)
${LUA_FENCE}
${LUA_IS_TRIMMED}
${LUA_NOW_MS}
${LUA_READ_KEYS_BESIDE_GROUP}
${LUA_SET_ASIDE}
${LUA_LANES}
`

/**
 * Gives what is pending and in no lane, and what lies under a poller's name, in the order of ids, a page at a time. Nothing of that name is in anybody's hands: the caller has the slot, and has read nothing yet.
 * What was trimmed is taken off.
 *
 * KEYS stream, lease, due, waiting, state, the keys of lanes. ARGV group, consumer, token, the id to go on behind ('' from the start), how many it gives. Answers 0 if the lease is gone, else the id to go on behind
 * ('' nothing is left), [id, fields] an entry, how many were taken off, and 1 if a lost group has yet to get back what was set aside.
 */
export const unplacedEntriesScript: LuaScript = {
  keyCount: undefined,
  lua: `
${BEGIN}
if not leased() then return 0 end
local out, lost, last = {}, 0, nil
-- what nobody knows the lane of is found among what is pending, as all else
local inbox = {'[${UNPLACED_CONDITION}\\n', '(${UNPLACED_CONDITION}\\11'}
if ARGV[4] == '' then beside('ZREMRANGEBYLEX', waiting, inbox[1], inbox[2]) end
local rows = redis.call('XPENDING', stream, group, ARGV[4] == '' and '-' or '(' .. ARGV[4], '+', ${LOOKS})
for _, p in ipairs(rows) do
  if #out >= tonumber(ARGV[5]) then break end
  last = p[1]
  local lane = laneOfEntry(p[1])
  -- runs without order claim more than firsts
  local isStray = lane and p[2] ~= '${PARKED_CONSUMER}' and beside('HGET', lanes, lane) ~= p[1]
  if p[2]:sub(1, ${POLLER_NAMES.length}) == '${POLLER_NAMES}' or not lane or isStray then
    local entry = redis.call('XRANGE', stream, p[1], p[1])[1]
    if entry then out[#out + 1] = entry
    else
      redis.call('XACK', stream, group, p[1])
      beside('ZREM', due, p[1])
      leave(p[1])
      lost = lost + 1
    end
  end
end
local isMore = last and (last ~= rows[#rows][1] or #rows == ${LOOKS})
return {isMore and last or '', out, lost, beside('HEXISTS', orderState, 'healing') or 0}
`,
}

/**
 * Makes entries members of their lanes, lowest id first. What lies under the name of a process that died is set aside, with its count, as a suspect; what a living run holds is left to it.
 *
 * KEYS stream, lease, due, waiting, then the leases of slots, then state, the keys of lanes. ARGV group, consumer, token, 1 if entries under the caller's own name never reached it: they get back
 * their delivery (2: but for what was there as it took the name, as no read was answered), else 0; the number of slots, their names, ms after which what else holds entries has died; then for each entry id, lane. Answers 0 if the lease is gone, else how many a living run holds, or are behind such in their lane, how many were taken off, and these lanes.
 */
export const placeEntriesScript: LuaScript = {
  keyCount: undefined,
  lua: `
${BEGIN}
if not leased() then return 0 end
local isReleased, slots = ARGV[4] ~= '0', tonumber(ARGV[5])
local state = orderState
${LUA_HOLDER_NOTES}
-- before the first read was answered what the holder found under the name is of those who had it before
local before = ARGV[4] == '2' and idOr(noted('before') or '', nil)
local took = isReleased and beside('HGET', state, 'took:' .. consumer)
took = type(took) == 'string' and took:gsub('^%S* ', '\\n') or ''
-- what was handed over at its last delivery was not counted
local function wasHanded(id, count) return took:find('\\n' .. id .. '=' .. num(count) .. '=0\\n', 1, true) ~= nil end
local leases = {}
for n = 1, slots do leases[ARGV[5 + n]] = KEYS[4 + n] end
local idle, busy, lost = tonumber(ARGV[6 + slots]), 0, 0
local function isAlive(p)
  if p[2] == consumer then return false end
  local key = leases[p[2]]
  if key then return redis.call('EXISTS', key) == 1 end
  return p[3] < idle
end
-- lanes of what a living run holds: nothing behind that may start
local held, names = {}, {}
for at = 7 + slots, #ARGV, 2 do
  local id, lane = ARGV[at], ARGV[at + 1]
  local p = pendingEntry(id)
  local known = laneOfEntry(id)
  if p and held[known or lane] then busy = busy + 1
  elseif p and (p[2] == '${PARKED_CONSUMER}' or p[2] == '${AGING_CONSUMER}') then
    if not known then place(id, saturated(p[4]), lane, false) end
  elseif p and isAlive(p) then
    busy = busy + 1
    held[known or lane], names[#names + 1] = true, known or lane
  elseif p then
    local isOwn, count = isReleased and p[2] == consumer and not (before and not less(before, id)), saturated(p[4])
    if isOwn and not wasHanded(id, count) then count = count - 1 end
    if hand('${PARKED_CONSUMER}', id, count) then
      beside('ZREM', due, id)
      place(id, count, known or lane, not isOwn and count > 0)
    else
      redis.call('XACK', stream, group, id)
      beside('ZREM', due, id)
      leave(id)
      lost = lost + 1
    end
  end
end
return {busy, lost, names}
`,
}

/**
 * Takes members off that are pending no more, and first members, a page at a time: their lanes go on. What the group was made again above comes again.
 *
 * KEYS stream, lease, due, waiting, state, the keys of lanes. ARGV group, consumer, token, which hash, a cursor. Answers the next cursor, `0` once all were inspected.
 */
export const sweepLanesScript: LuaScript = {
  keyCount: undefined,
  lua: `
${BEGIN}
if not leased() then return '0' end
local function isBehind(lane, id)
  local text = member(lane, id, 0)
  return (beside('ZRANGEBYLEX', waiting, '[' .. text:sub(1, -2), '(' .. text:sub(1, -3) .. ';', 'LIMIT', 0, 1) or {})[1] ~= nil
end
local isOfMembers = ARGV[4] == 'members'
local page = beside('HSCAN', isOfMembers and laneOf or lanes, ARGV[5], 'COUNT', 200) or {'0', {}}
for i = 1, #page[2], 2 do
  if isOfMembers then
    local id = page[2][i]
    local isFirst = beside('HGET', lanes, (laneOfEntry(id) or '')) == id
    if not madePending(id, countOf(beside('ZSCORE', due, id))) then
      beside('ZREM', due, id)
      leave(id)
    elseif isFirst and trimmed(id) then
      redis.call('XACK', stream, group, id)
      beside('ZREM', due, id)
      leave(id)
    elseif not isFirst then
      -- runs without order give back what waits
      local p, lane, isSuspect = pendingEntry(id), laneOfEntry(id)
      if not isBehind(lane, id) then
        if p[2] == '${PARKED_CONSUMER}' then place(id, saturated(p[4]), lane, isSuspect)
        -- it is under way: somebody has deleted that it is the first
        elseif not beside('HGET', lanes, lane) then beside('HSET', lanes, lane, id) end
      end
    end
  elseif laneOfEntry(page[2][i + 1]) ~= page[2][i] then handOn(page[2][i]) end
end
return page[1]
`,
}

/**
 * Gives lanes in which something waits a first member where they have none, a page at a time: once those that were the first, and wait for a time or are under way, are known to be it.
 *
 * KEYS stream, lease, due, waiting, state, the keys of lanes. ARGV group, consumer, token, the lane to go on behind ('' from the start). Answers that, '' once all were inspected.
 */
export const giveFirstsScript: LuaScript = {
  keyCount: undefined,
  lua: `
${BEGIN}
if not leased() then return '' end
local lane = ARGV[4]
for _ = 1, 200 do
  local from = lane == '' and '[${LANES_FROM}' or '(' .. lane .. '\\11'
  local text = (beside('ZRANGEBYLEX', waiting, from, '(${LANES_TO}', 'LIMIT', 0, 1) or {})[1]
  lane = text and text:match('^(.*)\\n')
  if not lane then return '' end
  if not beside('HGET', lanes, lane) then handOn(lane) end
end
return lane
`,
}
