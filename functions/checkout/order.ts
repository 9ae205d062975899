import type { EventDefinition, HandlerContext } from 'millrace'
import type { Order, OrderPlaced } from '../events/checkout.ts'
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
import { ask, eventIdOf, move, OPEN, rowOf } from './table.ts'

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

/** Follows an order from what the services say, in whatever sequence, and decides once: it is confirmed, or it is cancelled. */
export async function followOrder(event: CheckoutEvent, context: HandlerContext): Promise<void> {
  const { type, payload } = event
  const row = rowOf(payload.orderId)
  const [found] = await ask([['HMGET', row, 'order', 'placed']])
  const [state, placed] = found as (string | null)[]
  const next = NEXT[state ?? 'none']?.[type]
  if (next === undefined) return
  // ahead of the step that opens the order: a crash in between repeats it under the same id, which adds none
  if (next === 'open') await startClock(event)
  // as it was opened: what else is placed under its id changes nothing
  const order: Order = placed ? JSON.parse(placed) : payload
  const moved = move(context, 'order', order, [state ?? 'none', next], ANNOUNCES[next])
  // since when: the time of the entry's id, by the server's clock
  if (!state) moved.addToSortedSet(OPEN, order.orderId, Number.parseInt(context.entryId, 10))
  if (!state) moved.setFields(row, { placed: JSON.stringify(order) })
  if (next === 'cancelling') moved.setFields(row, { because: type })
  if (ENDS.includes(next)) moved.removeFromSortedSet(OPEN, order.orderId)
}

async function startClock({ payload: order }: CheckoutEvent): Promise<void> {
  const eventId = eventIdOf(OrderTimedOut, order)
  await checkout.publish(OrderTimedOut, order, { eventId, aggregateId: order.orderId, delayMs: checkoutTimeoutMs })
}
