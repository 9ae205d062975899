import type { EventOf, HandlerContext } from 'millrace'
import { effects } from 'millrace'
import type { ORDER_EVENTS } from '../events/shop-orders.ts'
import { STREAM } from '../events/shop-orders.ts'
import type { Ask, Reply } from '../shared/ask.ts'
import { pairsOf } from '../shared/ask.ts'

export const pageOf = (orderId: string) => `{shop-orders}:page:${orderId}`
export const listOf = (customerId: string) => `{shop-orders}:list:${customerId}`

/** Drops the pages that an event makes stale. It may be done again at any time: a page that is gone is made anew. */
export function dropPages({ payload }: EventOf<(typeof ORDER_EVENTS)[number]>, context: HandlerContext): void {
  effects(context).delete(pageOf(payload.orderId)).delete(listOf(payload.customerId))
}

const ID = /^(\d{1,16})(?:-(\d{1,20}))?$/
const LAST_SEQUENCE = 2n ** 64n - 1n

/**
 * Has the group start again from an entry: that one and all after it come once more, also while pollers run. Entries in hand stay as they are.
 *
 * @param id As `1795971102000-0`; without the part after the hyphen, the first of that millisecond.
 * @throws {RangeError} It is no id, or lies ahead of what the group has had: what is between would never come. @throws {Error} There is no such group yet.
 */
export async function startAgain(ask: Ask, id: string): Promise<void> {
  const [, ms, sequence = '0'] = ID.exec(id) ?? []
  if (!ms || BigInt(sequence) > LAST_SEQUENCE)
    throw new RangeError(`An entry id is like 1795971102000-0, got ${JSON.stringify(id)}`)
  const before = idBefore(BigInt(ms), BigInt(sequence))
  const [groups] = await ask([['XINFO', 'GROUPS', STREAM]])
  const own = (groups as readonly Reply[])
    .map((one) => new Map(pairsOf(one)))
    .find((one) => one.get('name') === 'cache')
  const last = own?.get('last-delivered-id')
  if (last !== undefined && isAfter(before, last))
    throw new RangeError(`Nothing that the group has had is at ${id} or after it: its last entry was ${last}`)
  await ask([['XGROUP', 'SETID', STREAM, 'cache', before]])
}

function isAfter(id: string, other: string): boolean {
  const [[ms = 0n, sequence = 0n], [otherMs = 0n, otherSequence = 0n]] = [id, other].map((text) =>
    text.split('-').map(BigInt),
  ) as [bigint[], bigint[]]
  return ms > otherMs || (ms === otherMs && sequence > otherSequence)
}

/** The group's position is the entry that it had last. */
function idBefore(ms: bigint, sequence: bigint): string {
  if (sequence > 0n) return `${ms}-${sequence - 1n}`
  return ms > 0n ? `${ms - 1n}-${LAST_SEQUENCE}` : '0-0'
}
