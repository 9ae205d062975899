import { defineConsumer, idempotent, on, promoteDelays } from 'millrace'
import * as events from '../events/checkout.ts'
import { countEnded } from './count.ts'
import { followOrder } from './order.ts'
import { cancelPayment, refundPayment, takePayment } from './payment.ts'
import { sendParcel } from './shipping.ts'
import { releaseStock, reserveStock } from './stock.ts'
import { KEEP_MS, markStuck } from './table.ts'

/**
 * What one service says another one waits for: they listen, or each step of an order would wait for the next minute. A retry is the way out of a race: it comes soon, and there are
 * more of them than writers of a field.
 */
const settings = {
  stream: 'checkout',
  unrouted: 'ignore',
  onDeadLetter: markStuck,
  mode: 'listen',
  handlerTimeoutMs: 5_000,
  minIdleMs: 60_000,
  maxDeliveries: 10,
  backoff: { firstMs: 250, factor: 2, maxMs: 60_000 },
} as const

/** Of several entries of one event one is handled at a time: no partner is asked twice at once. */
const once = idempotent({ ttlMs: 86_400_000 })

/** What writes a row where there is none. A lost group may have all of the stream again, also of orders whose rows are gone. */
const opens = { maxAgeMs: KEEP_MS }

export const order = defineConsumer({
  ...settings,
  group: 'order',
  routes: [
    on(events.OrderPlaced, followOrder, opens),
    on(events.PaymentTaken, followOrder),
    on(events.PaymentDeclined, followOrder),
    on(events.StockReserved, followOrder),
    on(events.StockMissing, followOrder),
    on(events.OrderTimedOut, followOrder, opens),
    on(events.ParcelSent, followOrder),
    on(events.ParcelRefused, followOrder),
    on(events.PaymentClosed, followOrder),
    on(events.StockClosed, followOrder),
  ],
  delays: promoteDelays(),
})

export const payment = defineConsumer({
  ...settings,
  group: 'payment',
  routes: [
    on(events.OrderOpened, takePayment),
    on(events.OrderCancelled, cancelPayment),
    on(events.RefundDue, refundPayment),
  ],
  use: [once],
})

export const stock = defineConsumer({
  ...settings,
  group: 'stock',
  routes: [on(events.OrderOpened, reserveStock), on(events.OrderCancelled, releaseStock)],
})

export const shipping = defineConsumer({
  ...settings,
  group: 'shipping',
  routes: [on(events.OrderConfirmed, sendParcel)],
  use: [once],
})

export const stats = defineConsumer({
  ...settings,
  group: 'stats',
  routes: [on(events.OrderFulfilled, countEnded), on(events.OrderCompensated, countEnded)],
})

/** Every service is a group of its own on the one stream. */
export const services = [order, payment, stock, shipping, stats]
