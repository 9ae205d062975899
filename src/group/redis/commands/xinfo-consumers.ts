import type { Command, Reply } from '../transport.ts'
import { asRecord, asText, items } from './reply.ts'

/** A consumer name of a group as the server sees it. */
export interface ConsumerInfo {
  readonly name: string
  readonly pending: number
  /** Milliseconds since it last tried to read or claim; before 7.2 an empty read does not count. */
  readonly idleMs: number
}

/** @see https://redis.io/docs/latest/commands/xinfo-consumers/ */
export function xinfoConsumers(stream: string, group: string): Command {
  return ['xinfo', 'CONSUMERS', stream, group]
}

export function parseXinfoConsumers(reply: Reply): ConsumerInfo[] {
  return items(reply).map((consumer) => {
    const { name, pending, idle } = asRecord(consumer)
    return { name: asText(name), pending: Number(pending), idleMs: Number(idle) }
  })
}
