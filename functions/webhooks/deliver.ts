import type { Effects, HandlerContext } from 'millrace'
import { effects, NonRetryableError, RetryAfterError } from 'millrace'
import { Webhook } from 'standardwebhooks'
import type { WebhookEvent } from '../events/webhooks.ts'
import { isHeaderId } from '../events/webhooks.ts'
import { webhooksTimeoutMs } from '../shared/env.ts'
import { retryAfterMs, verdictOf, waitMs } from './outcomes.ts'
import { noteFailure } from './pause.ts'
import { post } from './post.ts'
import { ask, endpointOf, FAILURES, KEEP_SENT_MS, KEEP_STATS_MS, readKnown, sentOf, statsOf } from './table.ts'

/** Upper ends of the classes that latencies are counted in, in milliseconds. */
export const LATENCIES = [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 60_000, 600_000, 3_600_000, Infinity]

/** Sends a merchant what happened. Its answer decides whether that is done, comes again, or is a dead letter. */
export async function deliver(event: WebhookEvent, context: HandlerContext): Promise<void> {
  const { eventId, payload } = event
  const { merchantId } = payload
  const known = await readKnown(merchantId, eventId)
  // answered, and then the process died: the merchant is not asked again
  if (known.sent) return noteDelivered(event, context, known.sent.split(' '), known.failures)
  if (!known.url) throw new NonRetryableError('the merchant has no endpoint')
  if (known.isDisabled) return void count(context, merchantId, 'disabled')
  const body = bodyOf(event)
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(webhooksTimeoutMs)])
  const answer = await post(new URL(known.url), body, signed(eventId, body, known.secrets), signal)
  const { status } = answer
  // over before its own time: the run ends, or somebody else has the event. That is no failure of the merchant's
  if (status === 'timeout') context.signal.throwIfAborted()
  const verdict = verdictOf(answer)
  if (verdict === 'done') {
    const sent = [String(status), String(Date.now())]
    await ask([['SET', sentOf(merchantId, eventId), sent.join(' '), 'PX', KEEP_SENT_MS]])
    return noteDelivered(event, context, sent, known.failures)
  }
  if (verdict === 'gone') {
    // unless it has been moved elsewhere meanwhile
    const gone = count(context, merchantId, String(status)).expectField(endpointOf(merchantId), 'url', known.url)
    return void gone.setFields(endpointOf(merchantId), { disabledAt: Date.now() })
  }
  const stats = statsOf(merchantId, Date.now())
  await ask([
    ['HINCRBY', stats, `answer:${status}`, 1],
    ['PEXPIRE', stats, KEEP_STATS_MS],
  ])
  if (verdict === 'refused') throw new NonRetryableError(`the endpoint answered ${status}`)
  const askedMs = retryAfterMs(answer, Date.now())
  await noteFailure(merchantId, askedMs)
  if (askedMs) throw new RetryAfterError(waitMs(askedMs, context.deliveryCount), `the endpoint answered ${status}`)
  throw new Error(`the endpoint answered ${status}`)
}

/** The same at each attempt. */
function bodyOf({ occurredAt, payload: { type, data } }: WebhookEvent): string {
  return JSON.stringify({ type, timestamp: occurredAt, data })
}

/** @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md */
function signed(eventId: string, body: string, secrets: string): Record<string, string> {
  // it is part of what is signed, and of a header
  if (!isHeaderId(eventId)) throw new NonRetryableError('the event id is none for a header')
  const now = new Date()
  return {
    'webhook-id': eventId,
    'webhook-timestamp': String(Math.floor(now.getTime() / 1_000)),
    'webhook-signature': secrets
      .split(' ')
      .map((secret) => new Webhook(secret).sign(eventId, now, body))
      .join(' '),
  }
}

/** Counts in the step that acknowledges the event. */
function count(context: HandlerContext, merchantId: string, answer: string): Effects {
  const stats = statsOf(merchantId, Date.now())
  return effects(context).incrementField(stats, `answer:${answer}`).expire(stats, KEEP_STATS_MS)
}

function noteDelivered(event: WebhookEvent, context: HandlerContext, sent: readonly string[], failures: number): void {
  const { merchantId } = event.payload
  const [status = '', at] = sent
  // since the stream has had it
  const latency = Number(at) - Number.parseInt(context.entryId, 10)
  const within = LATENCIES.find((end) => latency <= end)
  const noted = count(context, merchantId, status)
    .incrementField(statsOf(merchantId, Date.now()), `within:${within}`)
    .delete(sentOf(merchantId, event.eventId))
  // it works again. What it asked for meanwhile, or another failure did, holds all the same: this request may be older
  if (failures > 0) noted.deleteFields(FAILURES, merchantId)
}
