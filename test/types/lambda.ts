import { Logger } from '@aws-lambda-powertools/logger'
import { injectLambdaContext } from '@aws-lambda-powertools/logger/middleware'
import { Metrics } from '@aws-lambda-powertools/metrics'
import { logMetrics } from '@aws-lambda-powertools/metrics/middleware'
import { Tracer } from '@aws-lambda-powertools/tracer'
import { captureLambdaHandler } from '@aws-lambda-powertools/tracer/middleware'
import middy from '@middy/core'
import errorLogger from '@middy/error-logger'
import warmup from '@middy/warmup'
import type { Context, EventBridgeHandler, Handler, ScheduledEvent, ScheduledHandler } from 'aws-lambda'
import type { EventOf, HandlerContext, ScheduledHandler as MillraceHandler, Report } from 'millrace'
import { createClaimer, createPoller, defineConsumer, defineEvent, on, onBatch } from 'millrace'
import { lambdaFunction, notifyFunction } from 'millrace/lambda'
import { connectUpstash } from 'millrace/upstash'
import * as z from 'zod/mini'
import type { Equal, Expect } from './equal.ts'

const redis = connectUpstash({ url: 'https://127.0.0.1', token: 'none' })
const billing = defineConsumer({
  stream: 'orders',
  group: 'billing',
  routes: [on(defineEvent('OrderPaid', { payload: z.string() }), () => {})],
})

const poller = createPoller(billing, { redis })
const claimer = createClaimer(billing, { redis })

/** What AWS's types call a handler. */
export const handlers: Handler[] = [poller, claimer]
export const reporting: Handler<ScheduledEvent, Report>[] = [poller, claimer]
export const bridged: EventBridgeHandler<'Scheduled Event', unknown, Report>[] = [poller, claimer]
export const silent: ScheduledHandler = async (event, context) => {
  await poller(event, context)
}
// @ts-expect-error AWS's ScheduledHandler answers nothing, ours the report
export const scheduled: ScheduledHandler = poller

/** A middleware as Middy's and Powertools' own types have it. */
interface TypedRequest {
  event: ScheduledEvent
  context: Context
  response: unknown
  earlyResponse?: unknown
  error: Error | null | undefined
  internal: Record<string, unknown>
}
declare const typed: {
  before?: (request: TypedRequest) => unknown
  after?: (request: TypedRequest) => unknown
  onError?: (request: TypedRequest) => unknown
}
export const withTyped = () => poller.use(typed).use([typed])

/** `use()` gives the same handler, for middlewares with any of the three steps. */
export const withMiddlewares = poller
  .use({ before: async (request: { event: unknown; context: object }) => console.log(request.event) })
  .use([{ after: () => {} }, { onError: ({ error }: { error?: Error | null | undefined }) => console.log(error) }])

const logger = new Logger()

/** Middlewares of others, as they come. */
export const withForeign = [poller, claimer].map((handler) =>
  handler
    .use(injectLambdaContext(logger))
    .use(logMetrics(new Metrics()))
    .use(captureLambdaHandler(new Tracer()))
    .use(errorLogger())
    .use([warmup(), injectLambdaContext(logger, { logEvent: true })]),
)

const OrderPaid = defineEvent('OrderPaid', { payload: z.object({ orderId: z.string() }) })
type OrderPaid = EventOf<typeof OrderPaid>

declare function plain(event: OrderPaid): Promise<void>
declare function withLambdaContext(event: OrderPaid, context: Context): Promise<void>
declare function withHandlerContext(event: OrderPaid, context: HandlerContext): Promise<void>
declare function ofAnother(event: EventOf<typeof OrderShipped>): Promise<void>
const OrderShipped = defineEvent('OrderShipped', { payload: z.object({ parcel: z.number() }) })

/** A function that Middy wraps is a handler as it is. */
export const wrapped = [
  on(OrderPaid, middy(plain)),
  on(OrderPaid, middy(withHandlerContext)),
  on(OrderPaid, middy(plain).use(errorLogger())),
  on(OrderPaid, middy(withLambdaContext).use([errorLogger(), warmup()])),
  on(OrderPaid, middy(withLambdaContext).use(injectLambdaContext(logger)).use(captureLambdaHandler(new Tracer()))),
  on(OrderPaid, middy<OrderPaid, void, Error, HandlerContext & Context>(withHandlerContext).use(errorLogger())),
  // @ts-expect-error it is of another event
  on(OrderPaid, middy(ofAnother).use(errorLogger())),
  // @ts-expect-error nobody puts that into the context of a plain function
  on(OrderPaid, (event: OrderPaid, context: HandlerContext & { readonly user: string }) => [event, context.user]),
]

/** Another function handles batches of any event, and is notified of dead letters. */
export const remote = defineConsumer({
  stream: 'orders',
  group: 'shipping',
  routes: [onBatch(OrderShipped, lambdaFunction('notify-shipping', { qualifier: 'live', envelope: 'sqs' }))],
  onDeadLetter: notifyFunction('tell-somebody'),
})
// @ts-expect-error its time limit is for reading
lambdaFunction('notify-shipping').timeoutMs = 5
// @ts-expect-error there is no such envelope
lambdaFunction('notify-shipping', { envelope: 'sns' })
// @ts-expect-error it handles batches, not single events
on(OrderShipped, lambdaFunction('notify-shipping'))

export type Assertions = [
  Expect<Equal<typeof poller, MillraceHandler<Report>>>,
  Expect<Equal<typeof claimer, MillraceHandler<Report>>>,
  Expect<Equal<typeof withMiddlewares, MillraceHandler<Report>>>,
]

export async function invokes(event: ScheduledEvent, context: Context): Promise<Report[]> {
  // @ts-expect-error a middleware is an object
  poller.use(() => {})
  return [await poller(), await poller(event, context), await claimer({}, { getRemainingTimeInMillis: () => 60_000 })]
}
