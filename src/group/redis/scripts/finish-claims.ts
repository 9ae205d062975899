import { PARKED_CONSUMER } from '../../../core/keys.ts'
import { LUA_NEXT_DUE_MS, LUA_SET_ASIDE, LUA_WAITING_CONDITIONS } from './aside.ts'
import {
  LUA_DELETE_TEXT_KEY,
  LUA_FENCE,
  LUA_ID_BEFORE,
  LUA_IS_TRIMMED,
  LUA_NOW_MS,
  LUA_READ_KEYS_BESIDE_GROUP,
} from './fence.ts'
import { LUA_PLAN_CLAIM } from './plan-claim.ts'
import { REPAIRING } from './repair.ts'
import type { LuaScript } from './script.ts'

/** Nothing is set aside for longer than a hundred years, in ms. */
const LONGEST_MS = 100 * 365 * 86_400_000

/** Entries that were trimmed while set aside, of one name or one condition, that one call takes off. */
const TRIMMED = 500

/** Takes off what was trimmed while it was set aside: `parked` owns it in the order of ids, and so does each condition's range. */
const TAKE_OFF = `
local function takeOff()
  local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  local rows = redis.call('XPENDING', stream, group, '-', first and '(' .. first[1] or '+', ${TRIMMED}, '${PARKED_CONSUMER}')
  local ids, isIn = {}, {}
  for _, p in ipairs(rows) do if trimmed(p[1]) then ids[#ids + 1], isIn[p[1]] = p[1], true end end
  local others = #ids
  for _, condition in ipairs(conditions()) do
    local bound = first and '(' .. condition .. '\\n' .. sortable(first[1]) or '(' .. condition .. '\\11'
    -- what lies beyond the page is counted with the next
    if #rows == ${TRIMMED} then bound = '(' .. condition .. '\\n' .. sortable(rows[#rows][1]) .. ';' end
    local low, were = {}, 0
    for _, text in ipairs(beside('ZRANGEBYLEX', waiting, '[' .. condition .. '\\n', bound, 'LIMIT', 0, ${TRIMMED}) or {}) do
      local _, id = parts(text)
      if not id or trimmed(id) then low[#low + 1] = text end
      -- of what is pending no more, the place is all that is left
      if id and isIn[id] then were, isIn[id] = were + 1, nil end
    end
    if #low > 0 then beside('ZREM', waiting, unpack(low)) end
    if were > 0 then lost[#lost + 1] = {condition:match('^%S+'), were} end
    others = others - were
  end
  if #ids == 0 then return end
  beside('ZREM', due, unpack(ids))
  redis.call('XACK', stream, group, unpack(ids))
  if others > 0 then lost[#lost + 1] = {'retry', others} end
end`

/**
 * Keeps the cursor if the slot is still ours, and notes the mark: just below the oldest pending entry that is not set aside, or the last delivered one if there is none. A group
 * made again there skips nothing: what was set aside below it is in the index.
 *
 * What was trimmed while it was set aside is taken off, though nobody asks for it. What ran from the index and is pending no more, as a zombie's, is forgotten.
 *
 * KEYS stream, lease, due, waiting, state, and the key of the plan where claimers are woken. ARGV group, consumer, token, cursor, 1 if the run acknowledged something, whose time is noted, and with a plan the ms for which the claimer
 * waits: what is due within them is planned, and nothing is otherwise. Answers
 * the mark, [reason, number] for what was trimmed while it was set aside, 1 if the index must be compared with what is set aside, and in how many ms the next of it is due ('' none).
 */
export const finishClaimerRunScript: LuaScript = {
  keyCount: undefined,
  lua: `
local stream, lease, due, waiting, state, planned = unpack(KEYS)
local group, consumer, token, cursor, acked, waits = unpack(ARGV)
${LUA_FENCE}
${LUA_IS_TRIMMED}
${LUA_NOW_MS}
${LUA_ID_BEFORE}
${LUA_READ_KEYS_BESIDE_GROUP}
${LUA_SET_ASIDE}
${LUA_WAITING_CONDITIONS}
${LUA_NEXT_DUE_MS}
${REPAIRING}
local lost = {}
${TAKE_OFF}
local pending = redis.call('XPENDING', stream, group)
local lowest, sum, parked = nil, 0, 0
for _, c in ipairs(pending[4] or {}) do
  sum = sum + c[2]
  if c[1] == '${PARKED_CONSUMER}' then parked = tonumber(c[2])
  else
    local p = redis.call('XPENDING', stream, group, '-', '+', 1, c[1])[1]
    if p and (not lowest or sortable(p[1]) < sortable(lowest)) then lowest = p[1] end
  end
end
-- what nobody holds is found by no name: the oldest of all is the safe bound
if sum < pending[1] then lowest = pending[2] end
local mark
if lowest then mark = before(lowest)
else
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local fields = {}
    for i = 1, #info, 2 do fields[info[i]] = info[i + 1] end
    if fields.name == group then mark = fields['last-delivered-id'] end
  end
end
beside('HSETNX', state, 'stream', stream)
if leased() then beside('HSET', state, 'mark', mark, 'cursor', cursor)
else beside('HSET', state, 'mark', mark) end
if acked == '1' then beside('HSET', state, 'acked', num(now)) end
local ran = redis.call('EXISTS', due) == 1 and beside('ZRANGEBYSCORE', due, score(now + ${LONGEST_MS}, 0), '+inf', 'LIMIT', 0, 100) or {}
if #ran > 0 and beside('HEXISTS', state, 'healing') ~= 1 then
  for _, id in ipairs(ran) do
    local p = isId(id) and redis.call('XPENDING', stream, group, id, id, 1)[1]
    if not p then beside('ZREM', due, id)
    elseif p[2] == '${PARKED_CONSUMER}' then
      -- the time is none of ours: nothing that is set aside runs
      local count = saturated(p[4])
      aside(id, count, due, score(now, count), id)
    end
  end
end
-- places of conditions have one score: the order of their names is of use among equals only
local places = beside('ZCARD', waiting) or 0
if places > 0 and beside('ZCOUNT', waiting, 0, 0) ~= places then
  for _, range in ipairs({{'-inf', '(0'}, {'(0', '+inf'}}) do
    for _, text in ipairs(beside('ZRANGEBYSCORE', waiting, range[1], range[2], 'LIMIT', 0, 1000) or {}) do refuses('ZADD', waiting, 0, text) end
  end
end
if places > 0 then moveOn() end
local differs = false
if parked > 0 then
  takeOff()
  local indexed = (beside('ZCOUNT', due, '-inf', '(' .. num(RUNNING)) or 0) + (beside('ZCARD', waiting) or 0)
  for _, reason in ipairs(lost) do parked = parked - reason[2] end
  differs = mustRepair(parked, indexed)
end
local nextInMs = nextDue()
if planned then
  ${LUA_DELETE_TEXT_KEY}
  ${LUA_PLAN_CLAIM}
  if nextInMs ~= '' and tonumber(nextInMs) <= tonumber(waits) then plan(tonumber(nextInMs)) else drop(planned) end
end
return {mark, lost, differs and 1 or 0, nextInMs}
`,
}
