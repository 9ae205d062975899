import type { Event } from 'millrace'
import { concurrencyLimit, defineConsumer, idempotent, on, rateLimit } from 'millrace'
import type { WebhookEvent } from '../events/webhooks.ts'
import { WebhookDue } from '../events/webhooks.ts'
import { webhooksTimeoutMs } from '../shared/env.ts'
import { DAY_MS } from '../shared/time.ts'
import { deliver } from './deliver.ts'
import { BACKOFF } from './outcomes.ts'
import { leaveAlone } from './pause.ts'

const by = (event: Event) => (event as WebhookEvent).payload.merchantId

export const delivery = defineConsumer({
  stream: 'webhooks',
  group: 'delivery',
  routes: [on(WebhookDue, deliver)],
  use: [
    leaveAlone(),
    // one id for several merchants is as many events
    idempotent({ ttlMs: DAY_MS, by: (event) => `${by(event)}:${event.eventId}` }),
    // a slow merchant has so many of all places, also when it takes all of its time
    concurrencyLimit({ max: 5, by }),
    rateLimit({ max: 20, perMs: 1_000, by }),
  ],
  mode: 'listen',
  concurrency: 100,
  // beside the request, what is read before and noted after it
  handlerTimeoutMs: webhooksTimeoutMs + 5_000,
  minIdleMs: 60_000,
  maxDeliveries: 10,
  backoff: BACKOFF,
  // ahead of the publisher's retention
  maxAgeMs: 2 * DAY_MS,
})
