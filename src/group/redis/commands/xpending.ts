import { clampDeliveryCount } from '../../../core/delivery-count.ts'
import { HIGHEST_ENTRY_ID } from '../scripts/fence.ts'
import type { RedisCommand, RedisReply } from '../transport.ts'
import { replyAsText, replyItems } from './reply.ts'

/** A pending entry as the server sees it. */
export interface PendingEntry {
  readonly id: string
  /** `''` once it was released by XNACK (8.8). */
  readonly consumerName: string
  /** Milliseconds since its last delivery; -1 once it was released by XNACK. */
  readonly idleMs: number
  readonly deliveryCount: number
}

/**
 * The pending entries with the lowest ids, from an id on; `(` before it leaves it out. Never with IDLE: that looks through all of them until it has found enough.
 *
 * @param consumerName Only those of it. Default: all.
 * @see https://redis.io/docs/latest/commands/xpending/
 */
export function xpending(
  stream: string,
  group: string,
  count: number,
  start = '-',
  consumerName?: string,
): RedisCommand {
  // no server takes the last id there can be for a start, and nothing comes after it
  const [from, to] = start === `(${HIGHEST_ENTRY_ID}` ? ['+', '-'] : [start, '+']
  return ['xpending', stream, group, from, to, count, ...(consumerName === undefined ? [] : [consumerName])]
}

export function parseXpending(reply: RedisReply): PendingEntry[] {
  return replyItems(reply).map((row) => {
    const [id, consumerName, idle, count] = replyItems(row)
    return {
      id: replyAsText(id),
      consumerName: replyAsText(consumerName),
      idleMs: Number(idle),
      deliveryCount: clampDeliveryCount(Number(count)),
    }
  })
}
