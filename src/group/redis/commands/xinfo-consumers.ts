import type { RedisCommand, RedisReply } from '../transport.ts'
import { replyAsRecord, replyAsText, replyItems } from './reply.ts'

/** A consumer name of a group as the server sees it. */
export interface ConsumerInfo {
  readonly name: string
  readonly pending: number
  /** Milliseconds since it last tried to read or claim; before 7.2 an empty read does not count. */
  readonly idleMs: number
}

/** @see https://redis.io/docs/latest/commands/xinfo-consumers/ */
export function xinfoConsumers(stream: string, group: string): RedisCommand {
  return ['xinfo', 'CONSUMERS', stream, group]
}

export function parseXinfoConsumers(reply: RedisReply): ConsumerInfo[] {
  return replyItems(reply).map((consumer) => {
    const { name, pending, idle } = replyAsRecord(consumer)
    return { name: replyAsText(name), pending: Number(pending), idleMs: Number(idle) }
  })
}
