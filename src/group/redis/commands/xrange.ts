import type { Entry } from '../../../core/entry.ts'
import { HIGHEST_ENTRY_ID } from '../scripts/fence.ts'
import type { RedisCommand, RedisReply } from '../transport.ts'
import { replyAsFields, replyAsText, replyItems } from './reply.ts'

/**
 * Entries between two ids, oldest first. `(` before an id leaves it out, `-` and `+` are the ends.
 *
 * @see https://redis.io/docs/latest/commands/xrange/
 */
export function xrange(stream: string, start: string, end: string, count: number): RedisCommand {
  // no server takes the last id there can be for a start, and nothing comes after it
  const [from, to] = start === `(${HIGHEST_ENTRY_ID}` ? ['+', '-'] : [start, end]
  return ['xrange', stream, from, to, 'COUNT', count]
}

/** Only the newest entry. @see https://redis.io/docs/latest/commands/xrevrange/ */
export function newestEntryCommand(stream: string): RedisCommand {
  return ['xrevrange', stream, '+', '-', 'COUNT', 1]
}

export function parseXrange(reply: RedisReply): Entry[] {
  return replyItems(reply).map((entry) => {
    const [id, fields] = replyItems(entry)
    return { id: replyAsText(id), fields: replyAsFields(fields) }
  })
}
