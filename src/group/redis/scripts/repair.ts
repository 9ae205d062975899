import { PARKED_CONSUMER } from '../../../core/keys.ts'
import { LUA_SET_ASIDE, LUA_WAITING_CONDITIONS } from './aside.ts'
import { HIGHEST_ENTRY_ID, LUA_FENCE, LUA_IS_TRIMMED, LUA_NOW_MS, LUA_READ_KEYS_BESIDE_GROUP } from './fence.ts'
import type { LuaScript } from './script.ts'

/** Entries that one call compares with the index. */
const PAGE = 500

/** Conditions whose ranges one call inspects. Where there are more, it goes through all that waits. */
const FEW = 100

/** Entries that wait, of so many conditions, that one call goes through: with more of them it is not known what has no place. */
const MOST = 20_000

/** Milliseconds after which all is compared again, though the numbers are as they were. */
const PERIOD_MS = 86_400_000

/**
 * `mustRepair(parked, indexed)` says whether what is set aside and the index differ in number as they did not before, or nobody has compared them for a day.
 * Needs the locals state, now.
 */
export const REPAIRING = `
local function repaired() return (beside('HGET', state, 'repaired') or ''):match('^(%d+) (%-?%d+)$') end
local function mustRepair(parked, indexed)
  if beside('HEXISTS', state, 'repairing') == 1 then return true end
  local at, difference = repaired()
  -- the day begins where it was never compared
  if not at and parked > 0 and parked == indexed then redis.pcall('HSET', state, 'repaired', num(now) .. ' 0') end
  return parked - indexed ~= (tonumber(difference) or 0) or at and parked > 0 and now - at > ${PERIOD_MS}
end
`

/**
 * `waits(id, count)` says whether an entry of the page waits for a condition, `isKnown` whether that can be said. Each of a few conditions is asked once for what it has between the first and
 * the last id: a question for each entry and each condition would be tens of milliseconds. Where a condition has more there than the page, as of entries that are pending no more, it is
 * asked entry by entry. Of many conditions all that waits is gone through, unless it is too much.
 */
const WAITING_AMONG = `
local waiters, crowded, isKnown = {}, {}, true
local function note(places)
  for _, text in ipairs(places) do
    local _, id, count = parts(text)
    if id then waiters[id .. ':' .. num(count)] = true end
  end
end
local there = #rows > 0 and conditionsFrom('-', '+', {}, ${FEW}) or {}
if #there < ${FEW} then
  for _, condition in ipairs(there) do
    local from, to = '[' .. condition .. '\\n' .. sortable(rows[1][1]) .. ':', '(' .. condition .. '\\n' .. sortable(rows[#rows][1]) .. ';'
    local page = beside('ZRANGEBYLEX', waiting, from, to, 'LIMIT', 0, ${PAGE} + 1) or {}
    if #page > ${PAGE} then crowded[#crowded + 1] = condition else note(page) end
  end
elseif (beside('ZCARD', waiting) or 0) > ${MOST} then isKnown = false
else
  local places, from = nil, '-'
  repeat
    places = beside('ZRANGEBYLEX', waiting, from, '+', 'LIMIT', 0, 1000) or {}
    note(places)
    from = '(' .. (places[#places] or '')
  until #places < 1000
end
local function waits(id, count)
  if waiters[id .. ':' .. num(count)] then return true end
  for _, condition in ipairs(crowded) do
    if beside('ZSCORE', waiting, member(condition, id, count)) then return true end
  end
end`

/**
 * Compares a page of what is set aside with the index, by which alone it comes back: what no index has, since somebody deleted it or a failover lost a write, is due at once.
 *
 * Whoever does it, and whenever, it is the same: nobody's lease is asked for. Where the last page ended is noted.
 *
 * KEYS stream, due, waiting, state. ARGV group. Answers 1 if all was compared by now, and how many had no place.
 */
export const repair: LuaScript = {
  keyCount: 4,
  lua: `
local stream, due, waiting, state = unpack(KEYS)
local group, lease, consumer, token = ARGV[1], '', '', ''
${LUA_FENCE}
${LUA_IS_TRIMMED}
${LUA_NOW_MS}
${LUA_READ_KEYS_BESIDE_GROUP}
${LUA_SET_ASIDE}
${LUA_WAITING_CONDITIONS}
local repaired = 0
local after = beside('HGET', state, 'repairing') or ''
if not after:match('^%d+%-%d+$') or not idOr(after, nil) then after = nil end
local rows = redis.call('XPENDING', stream, group, after and '(' .. after or '-', '+', ${PAGE}, '${PARKED_CONSUMER}')
${WAITING_AMONG}
for _, p in ipairs(rows) do
  if not beside('ZSCORE', due, p[1]) and isKnown and not waits(p[1], p[4]) then
    local count = saturated(p[4])
    if aside(p[1], count, due, score(now, count), p[1]) then repaired = repaired + 1 end
  end
end
local last = rows[${PAGE}] and rows[${PAGE}][1]
if last and last ~= '${HIGHEST_ENTRY_ID}' then
  beside('HSET', state, 'repairing', last)
  return {0, repaired}
end
local parked = 0
for _, c in ipairs(redis.call('XPENDING', stream, group)[4] or {}) do if c[1] == '${PARKED_CONSUMER}' then parked = tonumber(c[2]) end end
local indexed = (beside('ZCOUNT', due, '-inf', '(' .. num(RUNNING)) or 0) + (beside('ZCARD', waiting) or 0)
beside('HDEL', state, 'repairing')
beside('HSET', state, 'repaired', num(now) .. ' ' .. ('%.0f'):format(parked - indexed))
return {1, repaired}
`,
}
