import { PARKED_CONSUMER } from '../../../core/keys.ts'
import { LUA_NEXT_DUE_MS, LUA_SET_ASIDE, LUA_WAITING_CONDITIONS } from './aside.ts'
import { HIGHEST_ENTRY_ID, LUA_FENCE, LUA_IS_TRIMMED, LUA_NOW_MS, LUA_READ_KEYS_BESIDE_GROUP } from './fence.ts'
import { LUA_READ_DOUBT_TIME } from './hand-back.ts'
import { SEES_PAUSES } from './pauses.ts'
import type { LuaScript } from './script.ts'

/** Entries that one page takes at most; where a name holds too many to be asked for its stale ones, as many of its ids are inspected as `looks`. */
export const CLAIM_PAGE_LIMITS = { finds: 100, looks: 1_000 }

/** Entries that a name may hold and still be asked for its stale ones: it costs a millisecond for so many. */
const FEW = 10_000

/** A cursor is an id and the name that holds it, in that order: `5-0 poller-1`. Names are compared as bytes: Lua compares texts by the server's locale. */
const CURSOR = `
local function less(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then return x < y end
  end
  return #a < #b
end
if cursor == '' then cursor = beside('HGET', state, 'cursor') or '0-0' end
local after, name = cursor:match('^(%d+%-%d+) (.*)$')
if not idOr(after, nil) then after, name, cursor = '0-0', '', '0-0' end`

/** Who holds something, in the order of names; nobody, whose name is empty, where somebody let go of an entry (XNACK). */
const HOLDERS = `
local names, holds, sum = {}, {}, 0
local pending = redis.call('XPENDING', stream, group)
for _, c in ipairs(pending[4] or {}) do
  sum = sum + c[2]
  if c[1] ~= '${PARKED_CONSUMER}' and not less(c[1], name) then
    names[#names + 1] = c[1]
    holds[c[1]] = tonumber(c[2])
  end
end
local isNobodys = sum < pending[1]
if isNobodys and name == '' then
  names[#names + 1] = ''
  holds[''] = math.huge
end
table.sort(names, less)`

/** The stale entries that one name holds, from an id on, and where to go on if not all of its ids were inspected. */
const STALE = `
local function isStale(p, who) return p[2] == who and (p[3] >= idle or p[3] < 0) end
local function staleOf(who, from, most)
  if holds[who] <= ${FEW} then return redis.call('XPENDING', stream, group, 'IDLE', ('%d'):format(idle), from, '+', most, who) end
  local rows, some = {}, nil
  if who == '' then some = redis.call('XPENDING', stream, group, from, '+', ${CLAIM_PAGE_LIMITS.looks})
  else some = redis.call('XPENDING', stream, group, from, '+', ${CLAIM_PAGE_LIMITS.looks}, who) end
  for _, p in ipairs(some) do
    if isStale(p, who) and #rows < most then rows[#rows + 1] = p end
  end
  return rows, #rows < most and #some == ${CLAIM_PAGE_LIMITS.looks} and some[#some][1]
end`

/** Takes stale entries over as they are: by XAUTOCLAIM where they stand alone in their range, by id elsewhere. */
const CLAIM = `
-- Redis 6.2.0 and 6.2.1 count a delivery also where XAUTOCLAIM has JUSTID; XCLAIM does not, and puts the count back
local function putBack(rows)
  local p = not redis.REDIS_VERSION and redis.call('XPENDING', stream, group, rows[1][1], rows[1][1], 1)[1]
  if not p or p[4] == rows[1][4] then return end
  for _, p in ipairs(rows) do redis.call('XCLAIM', stream, group, consumer, 0, p[1], 'RETRYCOUNT', num(saturated(p[4])), 'JUSTID') end
end
local function claim(rows)
  local first, last, got = rows[1][1], rows[#rows][1], {}
  -- what nobody holds, XAUTOCLAIM takes before all else
  if not isNobodys and #redis.call('XPENDING', stream, group, first, last, #rows + 1) == #rows then
    local page = redis.call('XAUTOCLAIM', stream, group, consumer, ('%d'):format(idle), first, 'COUNT', #rows, 'JUSTID')
    for _, id in ipairs(page[2]) do if id then got[id] = true end end
    putBack(rows)
  else
    local command = {'XCLAIM', stream, group, consumer, 0}
    for _, p in ipairs(rows) do command[#command + 1] = p[1] end
    command[#command + 1] = 'JUSTID'
    for _, id in ipairs(redis.call(unpack(command))) do if id then got[id] = true end end
  end
  for _, p in ipairs(rows) do
    if got[p[1]] and not gone(p[1]) then out[#out + 1] = {p[1], p[2], p[3], num(saturated(p[4]))}
    elseif trimmed(p[1]) then
      redis.call('XACK', stream, group, p[1])
      beside('ZREM', due, p[1])
      lost[#lost + 1] = p[1]
    end
  end
end`

/** What a read in doubt brought after its poller was gone reached nobody. */
const RELEASE = `
local doubts = {}
local function isDoubted(p)
  if p[4] ~= 1 then return false end
  if doubts[p[2]] == nil then doubts[p[2]] = doubtOf(p[2]) end
  return doubts[p[2]] and now - p[3] > doubts[p[2]]
end
local function withoutDoubted(rows)
  local kept = {}
  for _, p in ipairs(rows) do
    if not isDoubted(p) then kept[#kept + 1] = p
    elseif not aside(p[1], 0, due, score(now, 0), p[1]) then kept[#kept + 1] = p end
  end
  return kept
end`

/**
 * Takes over entries whose process died, consumer by consumer, without counting a delivery. What is set aside is not inspected: it comes back by its index. What a read in doubt
 * brought after its poller was gone never reached anybody: it is released first.
 *
 * Of a group that is paused nothing is taken.
 *
 * KEYS stream, due, waiting, state, paused, then the lease of each slot that may be ours. ARGV group, token, min-idle ms, cursor ('' the stored one), room, then a consumer
 * name per slot.
 * Answers 0 if the lease is gone, else the page's start, the next cursor (`0-0` once all names were inspected), [id, former owner, idle ms, count] per entry, the trimmed ids, the ms until the next of the index
 * is due ('' none), the conditions that something waits for, 1 if a group that was made again has yet to get back what was set aside,
 * and the text of what is paused (nil: nothing is) with the server's time.
 */
export const claimPageScript: LuaScript = {
  keyCount: undefined,
  lua: `
local stream, due, waiting, state, paused, lease = unpack(KEYS)
local group, token, idle, cursor, room, consumer = unpack(ARGV)
idle, room = tonumber(idle), math.min(tonumber(room), ${CLAIM_PAGE_LIMITS.finds})
local holders, ours = redis.call('MGET', unpack(KEYS, 5)), token == ''
local text = table.remove(holders, 1)
for i, holder in ipairs(holders) do
  if holder == token then lease, consumer, ours = KEYS[i + 5], ARGV[i + 5], true end
end
${LUA_FENCE}
${LUA_IS_TRIMMED}
${LUA_NOW_MS}
${LUA_READ_DOUBT_TIME}
${LUA_READ_KEYS_BESIDE_GROUP}
${LUA_SET_ASIDE}
${LUA_WAITING_CONDITIONS}
${LUA_NEXT_DUE_MS}
${SEES_PAUSES}
if not ours then return 0 end
see(text)
local out, lost = {}, {}
${CURSOR}
if isAllPaused then return seeing({cursor, cursor, {}, {}, '', {}, 0}) end
${HOLDERS}
${STALE}
${CLAIM}
${RELEASE}
local function page()
  for _, who in ipairs(names) do
    if #out >= room then return '0-0 ' .. who end
    local from = who == name and after ~= '0-0' and '(' .. after or '-'
    if from ~= '(${HIGHEST_ENTRY_ID}' then
      local most = room - #out
      local rows, last = staleOf(who, from, most)
      local isFull = #rows == most and rows[most][1]
      rows = withoutDoubted(rows)
      if #rows > 0 then claim(rows) end
      if isFull or last then return (isFull or last) .. ' ' .. who end
    end
  end
  return '0-0'
end
local next = room > 0 and page() or cursor
return seeing({cursor, next, out, lost, nextDue(), conditions(), beside('HEXISTS', state, 'healing') or 0})
`,
}
