import { defineConsumer, on } from 'millrace'
import { Webhook } from 'standardwebhooks'
import { merchantId as merchantIdSchema, WebhookDue } from '../events/webhooks.ts'
import { createAsk } from '../shared/ask.ts'
import { webhooksAllowed } from '../shared/env.ts'
import { redis } from '../shared/redis.ts'
import { DAY_MS, isoOf } from '../shared/time.ts'

/** A hash a merchant: `url`, `secrets`, and `disabledAt` once it answered 410. */
export const endpointOf = (merchantId: string) => `{webhooks}:endpoint:${merchantId}`

/** A hash a merchant and day: how often its endpoint gave which answer, and how long events took until they were delivered. */
export const statsOf = (merchantId: string, ms: number) => `{webhooks}:stats:${merchantId}:${isoOf(ms).slice(0, 10)}`

export const KEEP_STATS_MS = 30 * DAY_MS

/** Of an event that was answered and is not acknowledged yet: the answer, and when it came. Merchants may hear of the same under the same id. */
export const sentOf = (merchantId: string, eventId: string) => `{webhooks}:sent:${merchantId}:${eventId}`

/** As long as an event may be tried. */
export const KEEP_SENT_MS = 2 * DAY_MS

/** A sorted set: merchants that are left alone, and until when. */
export const PAUSED = '{webhooks}:paused'

/** A hash: how often a merchant's endpoint failed since it last worked. */
export const FAILURES = '{webhooks}:failures'

/** Plain commands on all of these; this consumer polls nothing. */
export const ask = createAsk(
  redis,
  defineConsumer({ stream: 'webhooks', group: 'delivery', routes: [on(WebhookDue, async () => {})] }),
)

/** What is known before an event is sent, in one round trip. `sent` is status and time of an answer whose acknowledgement was lost. */
export async function readKnown(merchantId: string, eventId: string) {
  const [endpoint, sent, failures] = await ask([
    ['HMGET', endpointOf(merchantId), 'url', 'secrets', 'disabledAt'],
    ['GET', sentOf(merchantId, eventId)],
    ['HGET', FAILURES, merchantId],
  ])
  const [url = null, secrets, disabledAt] = endpoint as readonly (string | null)[]
  const isDisabled = Boolean(disabledAt)
  return { url, secrets: secrets ?? '', isDisabled, sent: sent as string | null, failures: Number(failures ?? 0) }
}

/**
 * Says where a merchant wants to hear of things; one that was disabled, or left alone, is asked again.
 *
 * @param secrets As Standard Webhooks has them, `whsec_…`; two while the old one is replaced.
 * @throws {Error} An id or a URL that nothing can be sent to, no secret, or one that is none.
 */
export async function saveEndpoint(merchantId: string, url: string, ...secrets: readonly string[]): Promise<void> {
  if (!merchantIdSchema.safeParse(merchantId).success) throw new RangeError('The merchant has no such id')
  const { protocol, href } = new URL(url)
  if (protocol !== 'https:' && !(protocol === 'http:' && webhooksAllowed.size > 0))
    throw new RangeError('An endpoint must be https:')
  if (secrets.length === 0) throw new RangeError('An endpoint needs a secret')
  for (const secret of secrets) new Webhook(secret)
  await ask([
    ['HSET', endpointOf(merchantId), 'url', href, 'secrets', secrets.join(' ')],
    ['HDEL', endpointOf(merchantId), 'disabledAt'],
    // what another place failed with, or asked for
    ['HDEL', FAILURES, merchantId],
    ['ZREM', PAUSED, merchantId],
  ])
}
