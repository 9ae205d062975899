import type { Script } from './script.ts'

/** Milliseconds for which publishers wake nobody for a group that is held: its schedule looks again. */
export const HELD_FLAG_MS = 60_000

/** What the script answers in place of entries. */
export const NOT_READ = { held: 1, slotLost: 2 } as const

/**
 * Reads new entries unless more are pending than the consumer allows, or the slot went to another. Never BLOCKs, never reads the history.
 *
 * Where more are pending, publishers are kept from waking pollers that could not read.
 *
 * KEYS stream, lease, the flag of publishers. ARGV group, consumer, token, count, max pending. Answers what XREADGROUP does, or a number of
 * NOT_READ.
 */
export const readBounded: Script = {
  keyCount: 3,
  lua: `
local stream, lease, flag = unpack(KEYS)
local group, consumer, token, count, max = unpack(ARGV)
local holder = redis.pcall('GET', lease)
if holder and holder ~= token then return ${NOT_READ.slotLost} end
if redis.call('XPENDING', stream, group)[1] > tonumber(max) then
  redis.pcall('SET', flag, 'held', 'PX', ${HELD_FLAG_MS})
  return ${NOT_READ.held}
end
return redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count, 'STREAMS', stream, '>')
`,
}
