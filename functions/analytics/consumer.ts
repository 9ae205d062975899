import { defineConsumer, idempotent, on } from 'millrace'
import { activityCodec, CartChanged, LoggedOut, PageViewed, Purchased, STREAMS } from '../events/activity.ts'
import { HOUR_MS } from '../shared/time.ts'
import { countCart, countLogout, countPurchase, countView } from './count-activity.ts'

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
  // what is published again after an hour is late by its own time, and counts in no window
  use: [idempotent({ ttlMs: HOUR_MS })],
  unrouted: 'ignore',
  batchSize: 500,
  concurrency: 50,
  handlerTimeoutMs: 5_000,
  minIdleMs: 15_000, // handlers only ask for effects: what waits longer lost its process, and keeps windows open
  maxDeliveries: 5,
  backoff: { firstMs: 1_000, factor: 2, maxMs: 60_000 },
})
