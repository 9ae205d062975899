import { createPublisher } from 'millrace'
import { isHeaderId, WebhookDue } from '../events/webhooks.ts'
import { redis } from '../shared/redis.ts'
import { DAY_MS } from '../shared/time.ts'

/** An event is a dead letter after two days, and would be trimmed after three. */
const webhooks = createPublisher({ stream: 'webhooks', redis, producer: 'shop', retentionMs: 3 * DAY_MS })

/**
 * Has an event sent to a merchant.
 *
 * @param eventId What the merchant knows a repeat by, and we as well: letters, digits, `_`, `:`, `-`, 128 at most; several merchants may have one. Default: a UUID.
 * @throws {RangeError} It is none. @throws {PayloadInvalidError} So is the merchant's id or the type.
 */
export async function announce(
  merchantId: string,
  type: string,
  data: Record<string, unknown>,
  eventId: string = crypto.randomUUID(),
): Promise<void> {
  if (!isHeaderId(eventId)) throw new RangeError('An event id is 1 to 128 letters, digits, _, : or -')
  const options = { eventId, aggregateType: 'merchant', aggregateId: merchantId }
  await webhooks.publish(WebhookDue, { merchantId, type, data }, options)
}
