import type { Entry } from '../../../core/entry.ts'
import { LAST_ID } from '../scripts/fence.ts'
import type { Command, Reply } from '../transport.ts'
import { asFields, asText, items } from './reply.ts'

/**
 * Entries between two ids, oldest first. `(` before an id leaves it out, `-` and `+` are the ends.
 *
 * @see https://redis.io/docs/latest/commands/xrange/
 */
export function xrange(stream: string, start: string, end: string, count: number): Command {
  // no server takes the last id there can be for a start, and nothing comes after it
  const [from, to] = start === `(${LAST_ID}` ? ['+', '-'] : [start, end]
  return ['xrange', stream, from, to, 'COUNT', count]
}

/** Only the newest entry. @see https://redis.io/docs/latest/commands/xrevrange/ */
export function xlast(stream: string): Command {
  return ['xrevrange', stream, '+', '-', 'COUNT', 1]
}

export function parseXrange(reply: Reply): Entry[] {
  return items(reply).map((entry) => {
    const [id, fields] = items(entry)
    return { id: asText(id), fields: asFields(fields) }
  })
}
