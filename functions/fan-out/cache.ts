import type { EventOf, HandlerContext } from 'millrace'
import { effects } from 'millrace'
import type { ORDER_EVENTS } from '../events/shop-orders.ts'
import { STREAM } from '../events/shop-orders.ts'
import type { Ask } from '../shared/ask.ts'

export const pageOf = (orderId: string) => `{shop-orders}:page:${orderId}`
export const listOf = (customerId: string) => `{shop-orders}:list:${customerId}`

/** Drops the pages that an event makes stale. It may be done again at any time: a page that is gone is made anew. */
export function dropPages({ payload }: EventOf<(typeof ORDER_EVENTS)[number]>, context: HandlerContext): void {
  effects(context).delete(pageOf(payload.orderId)).delete(listOf(payload.customerId))
}

const ID = /^(\d{1,16})(?:-(\d{1,19}))?$/

/**
 * Has the group start again from an entry: that one and all after it come once more, also while pollers run. Entries in hand stay as they are.
 *
 * @param id As `1795971102000-0`; without the part after the hyphen, the first of that millisecond.
 * @throws {RangeError} It is no id. @throws {Error} There is no such group yet.
 */
export async function startAgain(ask: Ask, id: string): Promise<void> {
  const [, ms, sequence = '0'] = ID.exec(id) ?? []
  if (!ms) throw new RangeError(`An entry id is like 1795971102000-0, got ${JSON.stringify(id)}`)
  await ask([['XGROUP', 'SETID', STREAM, 'cache', idBefore(BigInt(ms), BigInt(sequence))]])
}

/** The group's position is the entry that it had last. */
function idBefore(ms: bigint, sequence: bigint): string {
  if (sequence > 0n) return `${ms}-${sequence - 1n}`
  return ms > 0n ? `${ms - 1n}-${2n ** 64n - 1n}` : '0-0'
}
