import type { Entry } from '../../../core/entry.ts'
import type { Command, Reply } from '../transport.ts'
import { asFields, asText, items } from './reply.ts'

/** Reads new entries; never BLOCKs, never reads the history. @see https://redis.io/docs/latest/commands/xreadgroup/ */
export function xreadgroup(stream: string, group: string, consumerName: string, count: number): Command {
  return ['xreadgroup', 'GROUP', group, consumerName, 'COUNT', count, 'STREAMS', stream, '>']
}

/** The entries of one stream's reply: RESP2's `[[stream, entries]]`, RESP3's map, or nothing. */
export function parseXreadgroup(reply: Reply): Entry[] {
  return items(firstStream(reply)).map((entry) => {
    const [id, fields] = items(entry)
    return { id: asText(id), fields: asFields(fields) }
  })
}

function firstStream(reply: Reply): Reply | undefined {
  if (reply instanceof Map) return [...reply.values()][0]
  // some clients flatten the map: name, entries
  if (Array.isArray(reply)) return Array.isArray(reply[0]) ? items(reply[0] as Reply)[1] : reply[1]
  return reply === null ? undefined : Object.values(reply)[0]
}
