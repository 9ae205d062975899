import { PARKED_CONSUMER } from '../../../core/keys.ts'
import { LUA_DELETE_TEXT_KEY } from './fence.ts'
import { LUA_RELEASE_UNRECEIVED } from './hand-back.ts'
import { SEES_PAUSES } from './pauses.ts'
import type { LuaScript } from './script.ts'

/** Milliseconds for which publishers wake nobody for a group that is held: its schedule looks again. */
export const PENDING_LIMIT_FLAG_MS = 60_000

/** What the script answers in place of entries. */
export const NOT_READ_ANSWERS = { pendingLimit: 1, slotLost: 2, ended: 3, parkedLimit: 4, paused: 5 } as const

/** What becomes of the slot where there is nothing to read: it is kept, or given back; and with it the flag of publishers, whose entries are gone. */
export const SLOT_IF_NOTHING_READ = { keep: 0, give: 1, giveWithFlag: 2 } as const

/**
 * Reads new entries unless the group is paused, more are pending, or set aside, than the consumer allows, or the slot went to another. Never BLOCKs, never reads the history. Where
 * nothing is there to read it may give the slot back at once: an idle poll is two requests.
 *
 * Where more are pending, publishers are kept from waking pollers that could not read.
 *
 * KEYS stream, lease, due, the flag of publishers, paused, state. ARGV group, consumer, token, the lease's length in ms, min-idle ms, count, max pending, max set aside, a number of SLOT_IF_NOTHING_READ.
 * Answers an array: what XREADGROUP does, or a number of NOT_READ_ANSWERS; where something is paused, then the text and the server's time.
 */
export const readUnlessPendingLimit: LuaScript = {
  keyCount: 6,
  lua: `
local stream, lease, due, flag, paused, state = unpack(KEYS)
local group, consumer, token, length, idle, count, max, maxParked, ifEmpty = unpack(ARGV)
${LUA_RELEASE_UNRECEIVED}
${LUA_DELETE_TEXT_KEY}
${SEES_PAUSES}
local holder, text = unpack(redis.call('MGET', lease, paused))
see(text)
local function answer(is) return text and seeing({is}) or {is} end
if holder and holder ~= token then return answer(${NOT_READ_ANSWERS.slotLost}) end
if isAllPaused then return answer(${NOT_READ_ANSWERS.paused}) end
local pending, parked = redis.call('XPENDING', stream, group), 0
for _, c in ipairs(pending[4] or {}) do if c[1] == '${PARKED_CONSUMER}' then parked = tonumber(c[2]) end end
if pending[1] - parked > tonumber(max) or parked > tonumber(maxParked) then
  redis.pcall('SETNX', flag, 'held')
  redis.pcall('GETEX', flag, 'PX', ${PENDING_LIMIT_FLAG_MS})
  return answer(parked > tonumber(maxParked) and ${NOT_READ_ANSWERS.parkedLimit} or ${NOT_READ_ANSWERS.pendingLimit})
end
local entries = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count, 'STREAMS', stream, '>')
if entries or ifEmpty == '${SLOT_IF_NOTHING_READ.keep}' or not holder then return answer(entries) end
if ifEmpty == '${SLOT_IF_NOTHING_READ.giveWithFlag}' then drop(flag) end
handBack('-', '+', #ARGV + 1)
drop(lease)
return answer(${NOT_READ_ANSWERS.ended})
`,
}
