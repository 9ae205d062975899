import { MAX_DELAY_MS } from '../../core/backoff.ts'
import { PARKED } from '../../core/keys.ts'
import { BESIDE, FENCE, GONE, LAST_ID, NOW } from './fence.ts'
import type { Script } from './script.ts'

/** Entries that one XAUTOCLAIM takes at most; the server looks at ten times as many to find them. */
export const PAGE = { finds: 100, looks: 1_000 }

/**
 * Takes over stale entries without counting a delivery, and puts back as it was what is not due or finds no room. The page ends before the
 * first entry that found no room.
 *
 * XAUTOCLAIM forgets whose an entry was and for how long, so both are noted first: a hundred ids at a time, until there are as many stale
 * ones as it shall take, and no more than it looks at. A due time is heeded for parked entries only: what another name owns was read or
 * started since.
 *
 * KEYS stream, lease, due, state. ARGV group, consumer, token, min-idle ms, cursor ('' the stored one), room.
 * Answers 0 if the lease is gone, else the page's start, the next cursor, [id, former owner, idle ms, count] an entry, the trimmed ids.
 */
export const claimPage: Script = {
  keyCount: 4,
  lua: `
local stream, lease, due, state = unpack(KEYS)
local group, consumer, token, idle, cursor, room = unpack(ARGV)
idle, room = tonumber(idle), tonumber(room)
${FENCE}
${GONE}
${NOW}
${BESIDE}
if not leased() then return 0 end
if cursor == '' then cursor = idOr(beside('HGET', state, 'cursor'), '0-0') end

local anyDue = redis.call('EXISTS', due) == 1
local function ready(p)
  local wait = anyDue and p[2] == '${PARKED}' and beside('ZSCORE', due, p[1])
  local at = wait and tonumber(wait)
  return not at or not (at > now and at <= now + ${MAX_DELAY_MS}) -- a later one is none of ours
end

local was, from, looked, stale, found, count, enough, rows = {}, cursor, 0, 0, 0, nil, nil, nil
repeat
  rows = redis.call('XPENDING', stream, group, from, '+', ${PAGE.finds})
  -- trimmed entries take no room, and where the first one is, many are
  if not enough then enough = rows[1] and trimmed(rows[1][1]) and ${PAGE.finds} or room end
  for _, p in ipairs(rows) do
    was[p[1]], from, looked = p, '(' .. p[1], looked + 1
    if p[3] >= idle and not count then
      stale = stale + 1
      if ready(p) then found = found + 1 end
      if found >= enough or stale >= ${PAGE.finds} then count = math.max(stale, math.ceil(looked / ${PAGE.looks / PAGE.finds})) end
    end
  end
until count or #rows < ${PAGE.finds} or rows[#rows][1] == '${LAST_ID}' or looked >= ${PAGE.looks}

local page = redis.call('XAUTOCLAIM', stream, group, consumer, idle, cursor, 'COUNT', count or ${PAGE.finds}, 'JUSTID')
local after, out, lost = page[1], {}, page[3] or {}
local full = false
for _, id in ipairs(page[2]) do
  local p = was[id] or redis.call('XPENDING', stream, group, id, id, 1)[1] -- the clock went back meanwhile
  local isReady = ready(p)
  if isReady and #out >= room and not full then full, after = true, id end
  if gone(id) then
    redis.call('XACK', stream, group, id)
    lost[#lost + 1] = id
  elseif isReady and not full then out[#out + 1] = {id, p[2], p[3], ('%.0f'):format(saturated(p[4]))}
  else redis.call('XCLAIM', stream, group, p[2], 0, id, 'IDLE', p[3], 'JUSTID') end
end
for _, id in ipairs(lost) do beside('ZREM', due, id) end
return {cursor, after, out, lost}
`,
}
