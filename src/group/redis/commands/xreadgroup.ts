import type { Delivery } from '../../delivery.ts'
import { AnsweredDelivery } from '../answered-delivery.ts'
import type { RedisCommand, RedisReply } from '../transport.ts'
import { replyAsText, replyItems } from './reply.ts'

/**
 * Reads new entries, never the history.
 *
 * @param waitMs Milliseconds to wait for the first one, on a connection that nobody else uses. Default: it does not wait.
 * @see https://redis.io/docs/latest/commands/xreadgroup/
 */
export function xreadgroup(
  stream: string,
  group: string,
  consumerName: string,
  count: number,
  waitMs = 0,
): RedisCommand {
  // 0 would wait for ever
  const block = waitMs > 0 ? ['BLOCK', waitMs] : []
  return ['xreadgroup', 'GROUP', group, consumerName, 'COUNT', count, ...block, 'STREAMS', stream, '>']
}

/** The entries of one stream's reply: RESP2's `[[stream, entries]]`, RESP3's map, or nothing. Each is at its first delivery. */
export function parseXreadgroup(reply: RedisReply): Delivery[] {
  return replyItems(firstStream(reply)).map(newDelivery)
}

function newDelivery(entry: RedisReply): Delivery {
  const items = replyItems(entry)
  return new AnsweredDelivery(replyAsText(items[0]), items[1])
}

function firstStream(reply: RedisReply): RedisReply | undefined {
  if (reply instanceof Map) return [...reply.values()][0]
  // some clients flatten the map: name, entries
  if (Array.isArray(reply)) return Array.isArray(reply[0]) ? replyItems(reply[0] as RedisReply)[1] : reply[1]
  return reply === null ? undefined : Object.values(reply)[0]
}
