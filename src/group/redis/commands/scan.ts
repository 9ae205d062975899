import type { Command, Reply } from '../transport.ts'
import { asText, items } from './reply.ts'

/** Streams among the next keys of the server, about `count` of them. @see https://redis.io/docs/latest/commands/scan/ */
export function scanStreams(cursor: string, count: number): Command {
  return ['scan', cursor, 'COUNT', count, 'TYPE', 'stream']
}

/** The next cursor, `'0'` at the end, and the keys that were found; a key may come twice. */
export function parseScan(reply: Reply): { cursor: string; keys: string[] } {
  const [cursor, keys] = items(reply)
  return { cursor: asText(cursor), keys: items(keys).map(asText) }
}
