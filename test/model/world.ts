import { consumerKeys } from '../../src/core/keys.ts'
import type { Connection } from '../../src/group/group.ts'

export const STREAM = 'orders'
export const GROUP = 'billing'
export const KEYS = consumerKeys(STREAM, GROUP)

/** A server on which time goes by when it is told to, seen from outside. */
export interface World {
  readonly name: string
  /** Whether its client sends a call again when the reply is lost: then a fault may have a call carried out twice. */
  readonly resends: boolean
  /** The connection of one more process. Each of its calls goes through the caller, who decides when and whether it gets to the server. */
  connect(caller: Caller): Connection
  look(): Promise<Sight>
  /** Time goes by on the server: pending entries age, leases and due times come nearer. */
  pass(ms: number): Promise<void>
  add(entries: readonly (readonly [id: string, orderId: string])[]): Promise<void>
  trim(ids: readonly string[]): Promise<void>
  lose(what: Loss): Promise<void>
  /** From now on dead letters are refused, or taken again. Does nothing where they are never refused. */
  jam(isJammed: boolean): Promise<void>
  clear(): Promise<void>
}

/** The group alone, the stream with its group, or all there is, scripts included. */
export type Loss = 'group' | 'stream' | 'everything'

/** Who makes calls. */
export interface Caller {
  /**
   * @param timeoutMs When the caller gives up; the call may be carried out even later.
   * @param execute Carries out the first `parts` of the call's commands, all of them by default.
   */
  call<Reply>(
    label: string,
    timeoutMs: number | undefined,
    execute: (parts?: number) => Promise<Reply>,
    parts: number,
  ): Promise<Reply>
}

/** What a server holds. */
export interface Sight {
  /** `undefined`: there is no group. */
  readonly lastDelivered: string | undefined
  /** Ids of the stream's entries. */
  readonly stream: readonly string[]
  readonly pending: readonly Row[]
  readonly letters: readonly { readonly orderId: string; readonly reason: string; readonly count: number }[]
  /** Ids with a due time. */
  readonly due: readonly string[]
  /** Tokens of the slots that are held. */
  readonly leases: readonly string[]
  readonly consumers: readonly string[]
}

/** A pending entry. */
export interface Row {
  readonly id: string
  readonly owner: string
  readonly idleMs: number
  readonly count: number
}

/** What an order is published as. */
export function fieldsOf(orderId: string): readonly (readonly [string, string])[] {
  return [
    ['eventType', 'OrderPaid'],
    ['payload', JSON.stringify({ orderId })],
  ]
}

/** What a dead letter says, of all its names and values. */
export function letterOf(pairs: readonly (readonly [string, string])[]): Sight['letters'][number] {
  const { reason = '', deliveryCount = '', payload = '{}' } = Object.fromEntries(pairs)
  return { orderId: (JSON.parse(payload) as { orderId: string }).orderId, reason, count: Number(deliveryCount) }
}
