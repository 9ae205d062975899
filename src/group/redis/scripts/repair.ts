import { PARKED } from '../../../core/keys.ts'
import { ASIDE, CONDITIONS } from './aside.ts'
import { BESIDE, FENCE, GONE, LAST_ID, NOW } from './fence.ts'
import type { Script } from './script.ts'

/** Entries that one call compares with the index. */
const PAGE = 500

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
  return parked - indexed ~= (tonumber(difference) or 0) or at and parked > 0 and now - at > ${PERIOD_MS}
end
`

/**
 * `waits(id, count)` says whether an entry of the page waits for a condition. Each condition is asked once for what it has between the first and the last id: a question for each entry
 * and each condition would be tens of milliseconds. Where a condition has more there than the page, as of entries that are pending no more, it is asked entry by entry.
 */
const WAITING_AMONG = `
local waiters, crowded = {}, {}
for _, condition in ipairs(rows[1] and conditions() or {}) do
  local from, to = '[' .. condition .. '\\n' .. sortable(rows[1][1]) .. ':', '(' .. condition .. '\\n' .. sortable(rows[#rows][1]) .. ';'
  local page = beside('ZRANGEBYLEX', waiting, from, to, 'LIMIT', 0, ${PAGE} + 1) or {}
  if #page > ${PAGE} then crowded[#crowded + 1] = condition else
    for _, text in ipairs(page) do
      local _, id, count = parts(text)
      if id then waiters[id .. ':' .. num(count)] = true end
    end
  end
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
export const repair: Script = {
  keyCount: 4,
  lua: `
local stream, due, waiting, state = unpack(KEYS)
local group, lease, consumer, token = ARGV[1], '', '', ''
${FENCE}
${GONE}
${NOW}
${BESIDE}
${ASIDE}
${CONDITIONS}
local repaired = 0
local after = beside('HGET', state, 'repairing') or ''
if not after:match('^%d+%-%d+$') or not idOr(after, nil) then after = nil end
local rows = redis.call('XPENDING', stream, group, after and '(' .. after or '-', '+', ${PAGE}, '${PARKED}')
${WAITING_AMONG}
for _, p in ipairs(rows) do
  if not beside('ZSCORE', due, p[1]) and not waits(p[1], p[4]) then
    local count = saturated(p[4])
    if aside(p[1], count, due, score(now, count), p[1]) then repaired = repaired + 1 end
  end
end
local last = rows[${PAGE}] and rows[${PAGE}][1]
if last and last ~= '${LAST_ID}' then
  beside('HSET', state, 'repairing', last)
  return {0, repaired}
end
local parked = 0
for _, c in ipairs(redis.call('XPENDING', stream, group)[4] or {}) do if c[1] == '${PARKED}' then parked = tonumber(c[2]) end end
local indexed = (beside('ZCOUNT', due, '-inf', '(' .. num(RUNNING)) or 0) + (beside('ZCARD', waiting) or 0)
beside('HDEL', state, 'repairing')
beside('HSET', state, 'repaired', num(now) .. ' ' .. ('%.0f'):format(parked - indexed))
return {1, repaired}
`,
}
