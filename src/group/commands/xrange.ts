import type { Entry } from '../../core/entry.ts'
import type { Command, Reply } from '../clients/transport.ts'
import { asFields, asText, items } from './reply.ts'

/** Entries from an id on, `(` before it leaves that one out. @see https://redis.io/docs/latest/commands/xrange/ */
export function xrange(stream: string, from: string, count: number): Command {
  return ['xrange', stream, from, '+', 'COUNT', count]
}

export function parseXrange(reply: Reply): Entry[] {
  return items(reply).map((entry) => {
    const [id, fields] = items(entry)
    return { id: asText(id), fields: asFields(fields) }
  })
}
