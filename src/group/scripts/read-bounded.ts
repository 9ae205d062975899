import type { Script } from './script.ts'

/**
 * Reads new entries unless more are pending than the consumer allows. Never BLOCKs, never reads the history.
 *
 * KEYS stream. ARGV group, consumer, count, max pending. Answers what XREADGROUP does, or the number of pending entries if it did not read.
 */
export const readBounded: Script = {
  keyCount: 1,
  lua: `
local stream, group, consumer, count, max = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local pending = redis.call('XPENDING', stream, group)[1]
if pending > max then return pending end
return redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count, 'STREAMS', stream, '>')
`,
}
