import { HOLD_WAIT_MS, MARKER_STATES } from '../../../core/markers.ts'
import { LUA_SET_ASIDE } from './aside.ts'
import { LUA_FENCE, LUA_IS_TRIMMED, LUA_NOW_MS, LUA_READ_KEYS_BESIDE_GROUP } from './fence.ts'
import { REFUSED_DEAD_LETTER_RETRY_MS, SETTLE_SCRIPT_ANSWERS } from './settle.ts'

/** What scripts that settle with commands begin with: what KEYS and ARGV have first, the fence, whether the slot is ours, and their answer. */
export const LUA_SETTLE_FRAME = `
local stream, lease, due = unpack(KEYS, 1, 3)
local group, consumer, token = unpack(ARGV, 1, 3)
${LUA_FENCE}
${LUA_IS_TRIMMED}
${LUA_NOW_MS}
${LUA_READ_KEYS_BESIDE_GROUP}
${LUA_SET_ASIDE}
local ours, out = leased(), {0}
`

/** `acknowledge(id, status)`, and `refuse(id, count, text)`, which sets an entry aside for a while. Needs ASIDE and the locals stream, group, due, now. */
export const LUA_ACKNOWLEDGE_OR_REFUSE = `
local function acknowledge(id, status)
  redis.call('XACK', stream, group, id)
  -- what cannot be taken off, the repair of the index does
  redis.pcall('ZREM', due, id)
  return status
end

local function refuse(id, count, text)
  aside(id, tonumber(count), due, score(now + ${REFUSED_DEAD_LETTER_RETRY_MS}, tonumber(count)), id)
  return text
end
`

/**
 * What becomes of one entry with a marker and commands. Needs ACKNOWLEDGE_OR_REFUSE, FENCE, the local ours, and `carryOut(id, count, marker, ttl, commands, kinds)`, which answers
 * for an entry that is ours, and of whose event no other entry was handled.
 */
export const LUA_SETTLE_ENTRY = `
-- the entry that a marker says was handled
local function handledBy(marker)
  local text = marker and redis.pcall('GET', marker)
  return type(text) == 'string' and text:match('^${MARKER_STATES.handled}(.+)$')
end

local function postpone(id, count)
  if not aside(id, count, due, score(now + ${HOLD_WAIT_MS.running}, count), id) then return acknowledge(id, ${SETTLE_SCRIPT_ANSWERS.lost}) end
  return ${SETTLE_SCRIPT_ANSWERS.postponed}
end

local function settle(op, id, count, marker, ttl, commands, kinds)
  local by = handledBy(marker)
  if op == 'duplicate' and by then return acknowledge(id, ${SETTLE_SCRIPT_ANSWERS.duplicate}) end
  local isOurs = ours and mine(id, count)
  -- sent again: the first sending has done it
  if by == id and not isOurs then return ${SETTLE_SCRIPT_ANSWERS.done} end
  if not ours then return ${SETTLE_SCRIPT_ANSWERS.leaseLost} end
  if not isOurs then return ${SETTLE_SCRIPT_ANSWERS.superseded} end
  if op == 'duplicate' then return postpone(id, count - 1) end
  if by then return acknowledge(id, by == id and ${SETTLE_SCRIPT_ANSWERS.done} or ${SETTLE_SCRIPT_ANSWERS.duplicate}) end
  return carryOut(id, count, marker, ttl, commands, kinds)
end
`
