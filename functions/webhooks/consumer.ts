import { defineConsumer, idempotent, on } from 'millrace'
import { WebhookDue } from '../events/webhooks.ts'
import { webhooksTimeoutMs } from '../shared/env.ts'
import { DAY_MS } from '../shared/time.ts'
import { deliver } from './deliver.ts'
import { leaveAlone } from './pause.ts'

export const delivery = defineConsumer({
  stream: 'webhooks',
  group: 'delivery',
  routes: [on(WebhookDue, deliver)],
  use: [leaveAlone(), idempotent({ ttlMs: DAY_MS })],
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
  deadLetters: { maxLength: 100_000 },
})
