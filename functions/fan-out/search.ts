import type { EventOf, HandlerContext } from 'millrace'
import { effects } from 'millrace'
import type { ORDER_EVENTS } from '../events/shop-orders.ts'

type OrderEvent = EventOf<(typeof ORDER_EVENTS)[number]>

const KEPT_MS = 90 * 86_400_000

/** Orders of a customer that are found: the newest. */
const MAX_ORDERS = 1_000

export const documentOf = (orderId: string) => `{shop-orders}:document:${orderId}`
export const ordersOf = (customerId: string) => `{shop-orders}:orders-of:${customerId}`

/**
 * Indexes what an order's event says. A document holds facts, a field each that only its own type of event writes: they are the same in whatever sequence events come, and however often.
 */
export function indexOrder({ type, payload }: OrderEvent, context: HandlerContext): void {
  const { orderId, customerId, ...facts } = payload
  const at = Number.parseInt(context.entryId, 10)
  const [document, orders] = [documentOf(orderId), ordersOf(customerId)]
  effects(context)
    .setFields(document, { customerId, [type]: JSON.stringify(facts) })
    .expire(document, KEPT_MS)
    .addToSortedSet(orders, orderId, at, { if: 'greater' })
    .keepHighest(orders, MAX_ORDERS)
    .expire(orders, KEPT_MS)
}

/** What an order is, by the facts of its document. Once cancelled is cancelled, whichever came first. */
export function stateOf(document: Readonly<Record<string, string>>): string {
  if (document.OrderCancelled) return 'cancelled'
  if (document.OrderShipped) return 'shipped'
  return document.OrderPaid ? 'paid' : 'placed'
}
