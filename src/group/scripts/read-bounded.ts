import type { Script } from './script.ts'

/** What the script answers in place of entries. */
export const NOT_READ = { held: 1, slotLost: 2 } as const

/**
 * Reads new entries unless more are pending than the consumer allows, or the slot went to another. Never BLOCKs, never reads the history.
 *
 * KEYS stream, lease. ARGV group, consumer, token, count, max pending. Answers what XREADGROUP does, or a number of NOT_READ.
 */
export const readBounded: Script = {
  keyCount: 2,
  lua: `
local stream, lease = KEYS[1], KEYS[2]
local group, consumer, token, count, max = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local holder = redis.call('GET', lease)
if holder and holder ~= token then return ${NOT_READ.slotLost} end
if redis.call('XPENDING', stream, group)[1] > max then return ${NOT_READ.held} end
return redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count, 'STREAMS', stream, '>')
`,
}
