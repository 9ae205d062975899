import type { RedisCommand, RedisReply } from '../transport.ts'
import { replyAsRecord, replyAsText, replyItems } from './reply.ts'

/** A consumer group as the server sees it. */
export interface GroupInfo {
  readonly name: string
  /** Consumer names. */
  readonly consumers: number
  readonly pending: number
  readonly lastDeliveredId: string
  /** Entries the group has read; nothing before 7.0, and where the server lost count. */
  readonly entriesRead: number | undefined
  /** Entries not delivered yet; nothing before 7.0, and where the server lost count. */
  readonly lag: number | undefined
}

/** @see https://redis.io/docs/latest/commands/xinfo-groups/ */
export function xinfoGroups(stream: string): RedisCommand {
  return ['xinfo', 'GROUPS', stream]
}

export function parseXinfoGroups(reply: RedisReply): GroupInfo[] {
  return replyItems(reply).map((group) => {
    const info = replyAsRecord(group)
    return {
      name: replyAsText(info.name),
      consumers: Number(info.consumers),
      pending: Number(info.pending),
      lastDeliveredId: replyAsText(info['last-delivered-id']),
      entriesRead: count(info['entries-read']),
      lag: count(info.lag),
    }
  })
}

function count(reply: RedisReply | undefined): number | undefined {
  return reply === undefined || reply === null ? undefined : Number(reply)
}
