import type { RedisCommand, RedisReply } from '../transport.ts'
import { replyAsText, replyItems } from './reply.ts'

/** Streams among the next keys of the server, about `count` of them. @see https://redis.io/docs/latest/commands/scan/ */
export function scan(cursor: string, count: number): RedisCommand {
  return ['scan', cursor, 'COUNT', count, 'TYPE', 'stream']
}

/** The next cursor, `'0'` at the end, and the keys that were found; a key may come twice. */
export function parseScan(reply: RedisReply): { cursor: string; keys: string[] } {
  const [cursor, keys] = replyItems(reply)
  return { cursor: replyAsText(cursor), keys: replyItems(keys).map(replyAsText) }
}
