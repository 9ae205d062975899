import type { Context, EventBridgeHandler, Handler, ScheduledEvent, ScheduledHandler } from 'aws-lambda'
import type { ScheduledHandler as MillraceHandler, Report } from 'millrace'
import { createClaimer, createPoller, defineConsumer, defineEvent, on } from 'millrace'
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
