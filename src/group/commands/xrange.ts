import type { Entry } from '../../core/entry.ts'
import type { Command, Reply } from '../clients/transport.ts'
import { asFields, asText, items } from './reply.ts'

/**
 * Entries between two ids, oldest first. `(` before an id leaves it out, `-` and `+` are the ends.
 *
 * @see https://redis.io/docs/latest/commands/xrange/
 */
export function xrange(stream: string, start: string, end: string, count: number): Command {
  return ['xrange', stream, start, end, 'COUNT', count]
}

/** The newest entry alone. @see https://redis.io/docs/latest/commands/xrevrange/ */
export function xlast(stream: string): Command {
  return ['xrevrange', stream, '+', '-', 'COUNT', 1]
}

export function parseXrange(reply: Reply): Entry[] {
  return items(reply).map((entry) => {
    const [id, fields] = items(entry)
    return { id: asText(id), fields: asFields(fields) }
  })
}
