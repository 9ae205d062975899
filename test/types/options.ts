import type { Connection, ErrorCode, Event, HandlerContext, MillraceError, Report } from 'millrace'
import * as millrace from 'millrace'
import {
  claim,
  createClaimer,
  createPoller,
  createPublisher,
  defineConsumer,
  defineEvent,
  envelopeCodec,
  filterPatterns,
  flatCodec,
  on,
  onBatch,
  poll,
} from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import * as z from 'zod/mini'
import type { Equal, Expect } from './equal.ts'

const OrderPaid = defineEvent('OrderPaid', { payload: z.object({ orderId: z.string() }) })
const redis: Connection = connectIoredis('redis://127.0.0.1')
const base = { stream: 'orders', group: 'billing', routes: [on(OrderPaid, () => {})] }

export const billing = defineConsumer({
  ...base,
  codec: flatCodec({ jsonFields: ['items'] }),
  batchSize: 100,
  concurrency: 10,
  handlerTimeoutMs: 10_000,
  minIdleMs: 60_000,
  maxDeliveries: 5,
  maxPending: 10_000,
  backoff: { firstMs: 1_000 },
  deadLetters: { maxLength: 1_000 },
  allowLongHandlers: false,
  maxEntryBytes: 1_000,
  mode: 'once',
  maxRunMs: 50_000,
  reserveMs: 1_000,
  maxPollers: 4,
  startAt: '$',
  unrouted: 'ignore',
  maxAgeMs: 3_600_000,
  expired: 'deadLetter',
  filter: filterPatterns([
    {
      type: ['OrderPaid', { prefix: 'Order' }],
      payload: {
        orderId: [{ 'anything-but': ['a'] }],
        $or: [{ a: [null] }, { b: { c: [{ numeric: ['>', 0, '<=', 5] }] } }],
      },
    },
    { $or: [{ tenantId: ['a'] }, { producer: [{ exists: false }] }] },
    { attributes: { source: ['web', { prefix: 'till' }] } },
  ]),
})

export const routes = [
  on(OrderPaid, () => {}, { when: ({ payload }) => payload.orderId !== '', maxAgeMs: 1_000, concurrency: 2, use: [] }),
  on(OrderPaid, () => {}, { handlerTimeoutMs: 5_000, maxDeliveries: 3, backoff: { firstMs: 10 } }),
  // @ts-expect-error there is no such option of the back-off
  on(OrderPaid, () => {}, { backoff: { first: 10 } }),
  onBatch(OrderPaid, () => {}, {
    when: (event) => event.type === 'OrderPaid',
    maxEvents: 5,
    concurrency: 1,
    bisectOnError: true,
  }),
  // @ts-expect-error one event has no parts
  on(OrderPaid, () => {}, { bisectOnError: true }),
  on(OrderPaid, () => {}, { when: (event: Event) => event.version > 1 }),
  // @ts-expect-error the payload has no such member
  on(OrderPaid, () => {}, { when: ({ payload }) => payload.amount > 0 }),
  // @ts-expect-error it must answer a boolean
  on(OrderPaid, () => {}, { when: ({ payload }) => payload.orderId }),
  // @ts-expect-error nobody waits for it
  onBatch(OrderPaid, () => {}, { when: async () => true }),
  // @ts-expect-error a route has no word for what is unrouted
  on(OrderPaid, () => {}, { unrouted: 'ignore' }),
]

export const filters = [
  // @ts-expect-error an event has no such member
  filterPatterns([{ body: ['a'] }]),
  // @ts-expect-error rules come in an array
  filterPatterns([{ type: 'OrderPaid' }]),
  // @ts-expect-error there is no such comparison
  filterPatterns([{ type: [{ wildcard: '*' }] }]),
]

export const consumers = [
  // @ts-expect-error a group is a must
  defineConsumer({ stream: 'orders', routes: base.routes }),
  // @ts-expect-error routes are a must
  defineConsumer({ stream: 'orders', group: 'billing' }),
  // @ts-expect-error a route comes from on()
  defineConsumer({ ...base, routes: [OrderPaid] }),
  // @ts-expect-error a consumer is no options
  defineConsumer({ ...defineConsumer(base), maxPollers: 16 }),
  // @ts-expect-error there is no such option
  defineConsumer({ ...base, batchsize: 100 }),
  // @ts-expect-error there is no such option yet
  defineConsumer({ ...base, orderBy: () => 'key' }),
  // @ts-expect-error there is no such option yet
  defineConsumer({ ...base, ordering: 'strict' }),
  // @ts-expect-error there is no such word
  defineConsumer({ ...base, unrouted: 'retry' }),
  // @ts-expect-error what is expired does not come back
  defineConsumer({ ...base, expired: 'park' }),
  // @ts-expect-error a filter comes from filterPatterns()
  defineConsumer({ ...base, filter: [{ type: ['OrderPaid'] }] }),
  // @ts-expect-error there is no such mode yet
  defineConsumer({ ...base, mode: 'tail' }),
  // @ts-expect-error times are numbers of milliseconds
  defineConsumer({ ...base, minIdleMs: '60s' }),
  // @ts-expect-error there is no such option of the back-off
  defineConsumer({ ...base, backoff: { first: 1_000 } }),
  // @ts-expect-error there is no such option of the dead letters
  defineConsumer({ ...base, deadLetters: { maxlen: 1_000 } }),
  flatCodec({ type: 'OrderPaid', jsonFields: 'all', occurredAtField: 'at', traceIdField: 'trace_id' }).encode,
  // @ts-expect-error it is all of them, or a list of names
  flatCodec({ jsonFields: 'some' }),
  // @ts-expect-error there is no such option of the codec
  flatCodec({ typefield: 'kind' }),
]

export const publishers = [
  createPublisher({ stream: 'orders', redis, producer: 'shop', maxLength: 1_000_000, exactTrimming: true }),
  createPublisher({ stream: 'orders', redis, retentionMs: 86_400_000 }),
  createPublisher({ stream: 'orders', redis, codec: flatCodec({ type: 'OrderPaid' }) }),
  createPublisher({ stream: 'orders', redis, codec: envelopeCodec }),
  // @ts-expect-error there is no such option
  createPublisher({ stream: 'orders', redis, maxlen: 5 }),
  // @ts-expect-error a connection is a must
  createPublisher({ stream: 'orders' }),
  // @ts-expect-error a URL is no connection
  createPublisher({ stream: 'orders', redis: 'redis://127.0.0.1' }),
]

export const functions = [
  createPoller(billing, { redis, mode: 'once', maxRunMs: 50_000 }),
  createPoller([billing, billing], { redis }),
  createClaimer([billing] as const, { redis }),
  // @ts-expect-error a connection is a must
  createPoller(billing, {}),
  // @ts-expect-error there is no such option
  createPoller(billing, { redis, batchSize: 5 }),
  // @ts-expect-error a consumer comes from defineConsumer
  createPoller(base, { redis }),
  // @ts-expect-error a claimer has no mode
  createClaimer(billing, { redis, mode: 'once' }),
  // @ts-expect-error the time left is Lambda's to say
  createPoller(billing, { redis, remainingMs: 60_000 }),
]

export async function runs(signal: AbortSignal): Promise<Report[]> {
  // @ts-expect-error there is no such option
  await poll(billing, { redis, timeoutMs: 1 })
  // @ts-expect-error a claim has no mode
  await claim(billing, { redis, mode: 'once' })
  return [
    await poll(billing, { redis, remainingMs: 60_000, signal, mode: 'once', maxRunMs: 5_000 }),
    await claim([billing], { redis, remainingMs: 60_000, signal }),
  ]
}

export type Assertions = [
  Expect<Equal<HandlerContext['deliveryCount'], number>>,
  Expect<Equal<HandlerContext['signal'], AbortSignal>>,
  Expect<Equal<MillraceError['code'], ErrorCode>>,
  Expect<Equal<millrace.NonRetryableError['code'], 'ERR_NON_RETRYABLE'>>,
]

/** A switch over the codes is complete as long as this compiles. */
export function describe(error: MillraceError): string {
  const meanings: Record<ErrorCode, string> = {
    ERR_BACKLOG_FULL: 'full',
    ERR_BATCH_ANSWER_INVALID: 'wrong answer',
    ERR_BATCH_ITEM_FAILED: 'named',
    ERR_ENTRY_EXPIRED: 'expired',
    ERR_ENTRY_MALFORMED: 'malformed',
    ERR_ENTRY_OVERSIZE: 'oversize',
    ERR_EVENTS_TRIMMED: 'trimmed',
    ERR_EVENT_UNREADABLE: 'unreadable',
    ERR_FUNCTION_FAILED: 'remote',
    ERR_HANDLER_TIMEOUT: 'timeout',
    ERR_INVOCATION_FAILED: 'failed',
    ERR_INVOCATION_TOO_SHORT: 'too short',
    ERR_JANITOR_FAILED: 'janitor failed',
    ERR_NON_RETRYABLE: 'non-retryable',
    ERR_NO_ROUTE: 'no route',
    ERR_PAYLOAD_GONE: 'payload gone',
    ERR_PAYLOAD_INVALID: 'invalid',
    ERR_PAYLOAD_STORE: 'store',
    ERR_PUBLISH_FAILED: 'publish failed',
    ERR_REDIS_CONNECTION: 'connection',
    ERR_REDIS_REPLY: 'reply',
    ERR_RETRY_AFTER: 'retry after',
    ERR_UNAVAILABLE: 'unavailable',
    ERR_VERSION_CONFLICT: 'conflict',
    ERR_VERSION_UNSUPPORTED: 'unsupported version',
  }
  return meanings[error.code]
}

export function steers(context: HandlerContext): never {
  // @ts-expect-error the context is read-only
  context.deliveryCount = 1
  // @ts-expect-error an abstract class: errors have a class of their own
  const error = new millrace.MillraceError('no')
  if (context.deliveryCount > 1) throw error
  if (context.signal.aborted) throw new millrace.RetryAfterError(30_000)
  // @ts-expect-error a wait is a must
  throw new millrace.RetryAfterError()
}
