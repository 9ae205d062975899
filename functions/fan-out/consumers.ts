import { defineConsumer, idempotent, on, onBatch } from 'millrace'
import * as events from '../events/shop-orders.ts'
import { keepRecord } from './audit.ts'
import { billOrder, refundOrder } from './billing.ts'
import { forwardEvents, MAX_PER_REQUEST } from './bridge.ts'
import { dropPages } from './cache.ts'
import { indexOrder } from './search.ts'
import { loadRows } from './warehouse.ts'

const { OrderPlaced, OrderPaid, OrderRefunded, OrderShipped, OrderCancelled, ORDER_EVENTS } = events

/** Each group has its own position, failures and dead letters: one that is behind holds up none of the others. What it does not route is acknowledged, and counted. */
const settings = {
  stream: events.STREAM,
  unrouted: 'ignore',
  handlerTimeoutMs: 10_000,
  minIdleMs: 60_000,
  maxDeliveries: 8,
} as const

/** Of an event that was published twice, one is handled. */
const once = idempotent({ ttlMs: 7 * 86_400_000 })

/** Counts money. */
export const billing = defineConsumer({
  ...settings,
  group: 'billing',
  routes: [on(OrderPaid, billOrder), on(OrderRefunded, refundOrder)],
  use: [once],
})

/** People wait for it: it listens. */
export const search = defineConsumer({
  ...settings,
  group: 'search',
  routes: [OrderPlaced, OrderPaid, OrderShipped, OrderCancelled].map((event) => on(event, indexOrder)),
  mode: 'listen',
})

/** Without `idempotent`: what comes again is to be done again. */
export const cache = defineConsumer({
  ...settings,
  group: 'cache',
  routes: ORDER_EVENTS.map((event) => on(event, dropPages)),
  mode: 'listen',
})

/** A minute's events in a few large loads. */
export const warehouse = defineConsumer({
  ...settings,
  group: 'warehouse',
  routes: [OrderPlaced, OrderPaid, OrderRefunded].map((event) => onBatch(event, loadRows, { maxEvents: 1_000 })),
  batchSize: 1_000,
})

/** What other teams react to, as it happens. */
export const bridge = defineConsumer({
  ...settings,
  group: 'bridge',
  routes: [OrderPaid, OrderShipped, OrderCancelled].map((event) => onBatch(event, forwardEvents, MAX_PER_REQUEST)),
  use: [once],
  mode: 'listen',
})

/** Everything. A type that this deployment does not know waits for one that does. */
export const audit = defineConsumer({
  ...settings,
  group: 'audit',
  routes: ORDER_EVENTS.map((event) => onBatch(event, keepRecord, { maxEvents: 1_000 })),
  batchSize: 1_000,
  unrouted: 'park',
})

export const groups = [billing, search, cache, warehouse, bridge, audit]
