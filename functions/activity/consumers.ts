import { defineConsumer, idempotent, on } from 'millrace'
import {
  activityCodec,
  CartChanged,
  LoggedOut,
  MetricSampled,
  OrderCancelled,
  OrderPlaced,
  PageViewed,
  Purchased,
  STREAMS,
} from '../events/activity.ts'
import { countAction, countPurchase } from './count-actions.ts'
import { keepCancelled, keepPlaced } from './keep-orders.ts'
import { isWatched, watchMetric } from './watch-metrics.ts'

/** Longer than any producer goes on sending an event again. */
const REMEMBERED_MS = 3_600_000

const shared = {
  codec: activityCodec,
  // other groups may know more types: what this one does not is acknowledged, and counted in its report
  unrouted: 'ignore',
  // an event without `event_id` is handled as often as it is sent, and counted as `unguarded`
  use: [idempotent({ ttlMs: REMEMBERED_MS, withoutKey: 'call' })],
  // handlers only ask for effects: what waits longer lost its process
  handlerTimeoutMs: 5_000,
  minIdleMs: 15_000,
} as const

/** How much users do. */
export const analytics = defineConsumer({
  ...shared,
  stream: STREAMS.actions,
  group: 'analytics',
  routes: [
    on(PageViewed, countAction),
    on(CartChanged, countAction),
    on(Purchased, countPurchase),
    on(LoggedOut, countAction),
  ],
})

/** What is to be sent. */
export const fulfilment = defineConsumer({
  ...shared,
  stream: STREAMS.orders,
  group: 'fulfilment',
  routes: [on(OrderPlaced, keepPlaced), on(OrderCancelled, keepCancelled)],
})

/** How the hosts are. */
export const monitoring = defineConsumer({
  ...shared,
  stream: STREAMS.metrics,
  group: 'monitoring',
  routes: [on(MetricSampled, watchMetric, { when: isWatched })],
})
