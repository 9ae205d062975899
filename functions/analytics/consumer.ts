import { defineConsumer, idempotent, on } from 'millrace'
import { activityCodec, CartChanged, LoggedOut, PageViewed, Purchased, STREAMS } from '../events/activity.ts'
import { HOUR_MS } from '../shared/time.ts'
import { countCart, countLogout, countPurchase, countView } from './count-activity.ts'

/** How long an event is known: what is published again after that is late by its time, and counts in no window. */
const KNOWN_MS = HOUR_MS

export const dashboard = defineConsumer({
  stream: STREAMS.actions,
  group: 'dashboard',
  codec: activityCodec,
  routes: [
    on(PageViewed, countView),
    on(CartChanged, countCart),
    on(Purchased, countPurchase),
    on(LoggedOut, countLogout),
  ],
  use: [idempotent({ ttlMs: KNOWN_MS })],
  unrouted: 'ignore',
  batchSize: 500,
  concurrency: 50,
  handlerTimeoutMs: 5_000,
  minIdleMs: 60_000,
  maxDeliveries: 5,
  backoff: { firstMs: 1_000, factor: 2, maxMs: 60_000 },
})
