import type { EventDefinition, HandlerContext } from 'millrace'
import type { OrderPlaced } from '../events/checkout.ts'
import {
  OrderCancelled,
  OrderCompensated,
  OrderConfirmed,
  OrderFulfilled,
  OrderOpened,
  OrderTimedOut,
} from '../events/checkout.ts'
import { checkoutTimeoutMs } from '../shared/env.ts'
import { checkout } from './publisher.ts'
import type { CheckoutEvent } from './table.ts'
import { eventIdOf, move, OPEN, rowOf, stateOf } from './table.ts'

/** What ends an order that is not confirmed yet. */
const GIVES_UP = { PaymentDeclined: 'cancelling', StockMissing: 'cancelling', OrderTimedOut: 'cancelling' } as const

/** By state and event, the state that follows. An event that has no place there is late, or comes again: nothing follows from it. */
export const NEXT: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  none: { OrderPlaced: 'open', OrderTimedOut: 'cancelling' },
  open: { PaymentTaken: 'paid', StockReserved: 'reserved', ...GIVES_UP },
  paid: { StockReserved: 'confirmed', ...GIVES_UP },
  reserved: { PaymentTaken: 'confirmed', ...GIVES_UP },
  confirmed: { ParcelSent: 'shipped', ParcelRefused: 'cancelling' },
  cancelling: { PaymentClosed: 'payment-closed', StockClosed: 'stock-closed' },
  'payment-closed': { StockClosed: 'cancelled' },
  'stock-closed': { PaymentClosed: 'cancelled' },
  shipped: {},
  cancelled: {},
}

const ANNOUNCES: Readonly<Record<string, EventDefinition<string, (typeof OrderPlaced)['payload']>>> = {
  open: OrderOpened,
  confirmed: OrderConfirmed,
  cancelling: OrderCancelled,
  shipped: OrderFulfilled,
  cancelled: OrderCompensated,
}

const ENDS = ['shipped', 'cancelled']

/** Longer than anything of an order may still come: redrives, replays. */
const KEEP_ENDED_MS = 30 * 86_400_000

/** Follows an order from what the services say, in whatever sequence, and decides once: it is confirmed, or it is cancelled. */
export async function followOrder(event: CheckoutEvent, context: HandlerContext): Promise<void> {
  const { payload: order, type } = event
  const state = await stateOf('order', order)
  const next = NEXT[state]?.[type]
  if (next === undefined) return
  // ahead of the step that opens the order: a crash in between repeats it under the same id, which adds none
  if (next === 'open') await startClock(event)
  const moved = move(context, 'order', order, [state, next], ANNOUNCES[next])
  // when the entry was added, by the server's clock
  if (state === 'none') moved.addToSortedSet(OPEN, order.orderId, Number.parseInt(context.entryId, 10))
  if (next === 'cancelling') moved.setFields(rowOf(order.orderId), { because: type })
  if (ENDS.includes(next)) moved.removeFromSortedSet(OPEN, order.orderId).expire(rowOf(order.orderId), KEEP_ENDED_MS)
}

async function startClock({ payload: order }: CheckoutEvent): Promise<void> {
  const eventId = eventIdOf(OrderTimedOut, order)
  await checkout.publish(OrderTimedOut, order, { eventId, aggregateId: order.orderId, delayMs: checkoutTimeoutMs })
}
