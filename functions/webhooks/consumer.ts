import type { Event } from 'millrace'
import { concurrencyLimit, defineConsumer, idempotent, on, rateLimit } from 'millrace'
import type { WebhookEvent } from '../events/webhooks.ts'
import { WebhookDue } from '../events/webhooks.ts'
import { webhooksTimeoutMs } from '../shared/env.ts'
import { DAY_MS } from '../shared/time.ts'
import { deliver } from './deliver.ts'
import { leaveAlone } from './pause.ts'

const by = (event: Event) => (event as WebhookEvent).payload.merchantId

export const delivery = defineConsumer({
  stream: 'webhooks',
  group: 'delivery',
  routes: [on(WebhookDue, deliver)],
  use: [
    leaveAlone(),
    idempotent({ ttlMs: DAY_MS }),
    // a slow merchant has so many of all places, also when it takes all of its time
    concurrencyLimit({ max: 5, by }),
    rateLimit({ max: 20, perMs: 1_000, by }),
  ],
  mode: 'listen',
  concurrency: 100,
  // beside the request, what is read before and noted after it
  handlerTimeoutMs: webhooksTimeoutMs + 5_000,
  minIdleMs: 60_000,
  // 5 s, 20 s, 80 s … 4 h: some 14 hours
  maxDeliveries: 10,
  backoff: { firstMs: 5_000, factor: 4, maxMs: 14_400_000 },
  // ahead of the publisher's retention
  maxAgeMs: 2 * DAY_MS,
})
