import { clampDeliveryCount } from '../../../core/delivery-count.ts'
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
 * The pending entries with the lowest ids. Never with IDLE: that looks through all of them until it has found enough.
 *
 * @see https://redis.io/docs/latest/commands/xpending/
 */
export function xpending(stream: string, group: string, count: number): RedisCommand {
  return ['xpending', stream, group, '-', '+', count]
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
