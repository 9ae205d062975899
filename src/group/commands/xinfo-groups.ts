import type { Command, Reply } from '../clients/transport.ts'
import { asRecord, asText, items } from './reply.ts'

/** A consumer group as the server sees it. */
export interface GroupInfo {
  readonly name: string
  /** Consumer names. */
  readonly consumers: number
  readonly pending: number
  readonly lastDeliveredId: string
  /** Entries not delivered yet; nothing before 7.0, and where the server lost count. */
  readonly lag: number | undefined
}

/** @see https://redis.io/docs/latest/commands/xinfo-groups/ */
export function xinfoGroups(stream: string): Command {
  return ['xinfo', 'GROUPS', stream]
}

export function parseXinfoGroups(reply: Reply): GroupInfo[] {
  return items(reply).map((group) => {
    const { name, consumers, pending, 'last-delivered-id': lastDeliveredId, lag = null } = asRecord(group)
    return {
      name: asText(name),
      consumers: Number(consumers),
      pending: Number(pending),
      lastDeliveredId: asText(lastDeliveredId),
      lag: lag === null ? undefined : Number(lag),
    }
  })
}
