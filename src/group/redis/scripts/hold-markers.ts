import { COUNTS, RUNNING } from '../../../core/due-score.ts'
import { AGING_CONSUMER, PARKED_CONSUMER } from '../../../core/keys.ts'
import { HOLD_ANSWERS, HOLD_WAIT_MS, MARKER_STATES } from '../../../core/markers.ts'
import { LUA_SORTABLE_ID } from './aside.ts'
import { LUA_NOW_MS, LUA_READ_KEYS_BESIDE_GROUP } from './fence.ts'
import type { LuaScript } from './script.ts'

/**
 * Holds events for the entries that are about to be handled, so that of several entries of one event one is handled at a time. A hold names its entry, and stands
 * while that is pending. What is held by another entry waits for it if that one is older, or runs now; else it takes the hold over: so two never wait for each
 * other. Sent again it answers the same.
 *
 * What anybody else wrote there is none of ours, and is replaced.
 *
 * KEYS stream, due, then a marker an entry. ARGV group, the holds' ms, min-idle ms, then the entries' ids, in order.
 * Answers for each entry a number of HOLD_ANSWERS or milliseconds, then the id of the entry that holds or was handled.
 */
export const holdMarkersScript: LuaScript = {
  keyCount: undefined,
  lua: `
local stream, due = unpack(KEYS, 1, 2)
local group, ttl, idle = unpack(ARGV, 1, 3)
${LUA_NOW_MS}
${LUA_READ_KEYS_BESIDE_GROUP}
${LUA_SORTABLE_ID}-- a group that is gone has nothing pending
local function pending(id)
  local rows = redis.pcall('XPENDING', stream, group, id, id, 1)
  return not rows.err and rows[1]
end
local function isAside(row) return row[2] == '${PARKED_CONSUMER}' or row[2] == '${AGING_CONSUMER}' end

-- how long to wait for a holder that is pending; nil to take over
local function waitFor(row, id)
  local other, isSetAside = row[1], isAside(row)
  if sortable(id) < sortable(other) and (isSetAside or row[3] >= tonumber(idle)) then return nil end
  if not isSetAside then return ${HOLD_ANSWERS.running} end
  local place = tonumber(beside('ZSCORE', due, other) or '')
  if not place or place >= ${RUNNING} then return ${HOLD_WAIT_MS.forCondition} end
  return math.max(0, math.floor(place / ${COUNTS}) - now) + ${HOLD_WAIT_MS.afterDue}
end

local out = {}
local function answer(number, id) out[#out + 1], out[#out + 2] = number, id end
for n = 3, #KEYS do
  local marker, id = KEYS[n], ARGV[n + 1]
  local text = redis.pcall('GET', marker)
  local state, other = (type(text) == 'string' and text or ''):match('^([${MARKER_STATES.handled}${MARKER_STATES.held}])(%d+%-%d+)$')
  if state == '${MARKER_STATES.handled}' then answer(${HOLD_ANSWERS.handled}, other)
  else
    local row = state and other ~= id and pending(other)
    local wait = row and waitFor(row, id)
    if wait then answer(wait, other)
    else
      redis.call('SET', marker, '${MARKER_STATES.held}' .. id, 'PX', ttl)
      answer(${HOLD_ANSWERS.held}, id)
    end
  end
end
return out
`,
}
