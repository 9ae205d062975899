import { MAX_DELAY_MS } from '../../../core/backoff.ts'
import { PARKED } from '../../../core/keys.ts'
import { BESIDE, FENCE, GONE, LAST_ID, NOW } from './fence.ts'
import { DOUBT } from './hand-back.ts'
import type { Script } from './script.ts'

/** Entries that one XAUTOCLAIM takes at most; the server inspects ten times as many to find them. */
export const PAGE = { finds: 100, looks: 1_000 }

/** Whether a stale entry is due. @param isIndexed Says no of what an index has. */
const readyBy = (isIndexed: string) => `
local anyDue = redis.call('EXISTS', due) == 1
local function ready(p)${isIndexed}
  local wait = anyDue and p[2] == '${PARKED}' and beside('ZSCORE', due, p[1])
  local at = wait and tonumber(wait)
  return not at or not (at > now and at <= now + ${MAX_DELAY_MS}) -- a later one is none of ours
end`

/** Releases what a read in doubt brought. */
const RELEASE = `
local doubts = {}
local function release(p)
  local owner = p[2]
  if doubts[owner] == nil then doubts[owner] = doubtOf(owner) end
  if not doubts[owner] or now - p[3] <= doubts[owner] then return end
  redis.call('XCLAIM', stream, group, '${PARKED}', 0, p[1], 'IDLE', p[3], 'RETRYCOUNT', 0, 'JUSTID')
  p[2], p[4] = '${PARKED}', 0
end`

/** Notes whose the stale entries are, and counts how many XAUTOCLAIM shall take. */
const LOOK = `
local was, from, looked, stale, found, count, enough, rows = {}, cursor, 0, 0, 0, nil, nil, nil

-- Redis 6.2.0 and 6.2.1 count a delivery also where XAUTOCLAIM has JUSTID; XCLAIM does not, and puts the count back
local function counts(id)
  local p = not redis.REDIS_VERSION and id and redis.call('XPENDING', stream, group, id, id, 1)[1]
  return p and was[id] and p[4] > was[id][4]
end

repeat
  rows = redis.call('XPENDING', stream, group, from, '+', ${PAGE.finds})
  -- trimmed entries take no room, and where the first one is, many are
  if not enough then enough = rows[1] and trimmed(rows[1][1]) and ${PAGE.finds} or room end
  for _, p in ipairs(rows) do
    was[p[1]], from, looked = p, '(' .. p[1], looked + 1
    if p[3] >= idle and p[4] == 1 and p[2] ~= '${PARKED}' then release(p) end
    if p[3] >= idle and not count then
      stale = stale + 1
      if ready(p) then found = found + 1 end
      if found >= enough or stale >= ${PAGE.finds} then count = math.max(stale, math.ceil(looked / ${PAGE.looks / PAGE.finds})) end
    end
  end
until count or #rows < ${PAGE.finds} or rows[#rows][1] == '${LAST_ID}' or looked >= ${PAGE.looks}`

/** Takes the page over, and puts back what is not due or finds no room. */
const TAKE = `
local page = redis.call('XAUTOCLAIM', stream, group, consumer, ('%d'):format(idle), cursor, 'COUNT', ('%d'):format(count or ${PAGE.finds}), 'JUSTID')
local raises = counts(page[2][1])
local after, out, lost = page[1], {}, page[3] or {}
local full = false
for _, id in ipairs(page[2]) do
  local p = was[id] or redis.call('XPENDING', stream, group, id, id, 1)[1] -- the clock went back meanwhile
  local isReady = ready(p)
  if isReady and #out >= room and not full then full, after = true, id end
  if gone(id) then
    redis.call('XACK', stream, group, id)
    lost[#lost + 1] = id
  elseif isReady and not full then
    local was = ('%.0f'):format(saturated(p[4]))
    if raises then redis.call('XCLAIM', stream, group, consumer, 0, id, 'RETRYCOUNT', was, 'JUSTID') end
    out[#out + 1] = {id, p[2], p[3], was}
  elseif raises then redis.call('XCLAIM', stream, group, p[2], 0, id, 'IDLE', p[3], 'RETRYCOUNT', ('%.0f'):format(saturated(p[4])), 'JUSTID')
  else redis.call('XCLAIM', stream, group, p[2], 0, id, 'IDLE', p[3], 'JUSTID') end
end
for _, id in ipairs(lost) do beside('ZREM', due, id) end`

function pageBy(indexes: string, isIndex: string, isIndexed: string): string {
  return `
local stream, due, state, lease = unpack(KEYS)
local group, token, idle, cursor, room, consumer = unpack(ARGV)
idle, room = tonumber(idle), tonumber(room)
${indexes}
for i = 5, #KEYS do
  ${isIndex}if redis.call('GET', lease) ~= token then lease, consumer = KEYS[i], ARGV[i + 2] end
end
${FENCE}
${GONE}
${NOW}
${DOUBT}
${BESIDE}
if not leased() then return 0 end
if cursor == '' then cursor = idOr(beside('HGET', state, 'cursor'), '0-0') end
${readyBy(isIndexed)}
${RELEASE}
${LOOK}
${TAKE}
return {cursor, after, out, lost}
`
}

/**
 * Takes over stale entries without counting a delivery, and puts back as it was what is not due or finds no room. The page ends before the
 * first entry that found no room.
 *
 * XAUTOCLAIM forgets whose an entry was and for how long, so both are noted first: a hundred ids at a time, until there are as many stale
 * ones as it shall take, and no more than it inspects. A due time is applied for parked entries only: what another name owns was read or
 * started since. What a read in doubt brought after its poller was gone never reached anybody: it is released first.
 *
 * KEYS stream, due, state, then the lease of each slot that may be ours. ARGV group, token, min-idle ms, cursor ('' the stored one), room, then a consumer
 * name per slot.
 * Answers 0 if the lease is gone, else the page's start, the next cursor, [id, former owner, idle ms, count] per entry, the trimmed ids.
 */
export const claimPage: Script = { keyCount: undefined, lua: pageBy('', '', '') }

/**
 * The same beside indexes of policies, by which what they hold comes back, never by its age. Its own script, so that who uses none needs no right
 * to ask for them. KEYS, after these, the indexes, and in place of a consumer name for each of them ''.
 */
export const claimPageBesideIndexes: Script = {
  keyCount: undefined,
  lua: pageBy(
    'local indexes = {}',
    "if ARGV[i + 2] == '' then indexes[#indexes + 1] = KEYS[i] else",
    `
  if p[2] == '${PARKED}' then
    for _, index in ipairs(indexes) do if beside('ZSCORE', index, p[1]) then return false end end
  end`,
  ),
}
