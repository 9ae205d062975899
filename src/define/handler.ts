import type { Field } from '../core/entry.ts'
import type { Event } from './event.ts'

/** The context that Lambda hands to a function; the members that this package passes on. */
export interface LambdaContext {
  readonly functionName: string
  readonly functionVersion: string
  readonly invokedFunctionArn: string
  readonly memoryLimitInMB: string
  readonly awsRequestId: string
  readonly logGroupName: string
  readonly logStreamName: string
  readonly clientContext?: unknown
  readonly identity?: unknown
  callbackWaitsForEmptyEventLoop: boolean
  getRemainingTimeInMillis(): number
}

/**
 * What a handler knows beside its event. A fresh object a call. Read `signal` and `fields` from it: a copy made by spreading lacks them, since
 * they are made when they are first asked for.
 */
export interface HandlerContext extends LambdaContext {
  readonly stream: string
  readonly group: string
  readonly consumerName: string
  readonly entryId: string
  /** This attempt's number, from 1; the server counts. */
  readonly deliveryCount: number
  /** Of its route. */
  readonly maxDeliveries: number
  /** `<group>:<eventId>`, without an eventId `<group>:<stream>:<entryId>`: the same on every delivery. */
  readonly idempotencyKey: string
  /** Aborted when `handlerTimeoutMs` is over: pass it on to whatever can be cancelled. */
  readonly signal: AbortSignal
  /** A copy of the entry's fields as they are in the stream: Buffers over TCP, strings over REST. */
  readonly fields: readonly Field[]
  /** Milliseconds left for this handler. */
  getRemainingTimeInMillis(): number
}

/**
 * A plain function. What it throws decides what becomes of the entry. What it returns is ignored, except `{ batchItemFailures: [...] }`, which
 * counts as it does for a batch of this one entry, and a generator, an async iterable, a stream or promises in an
 * array, which nobody would wait for: a failure.
 */
export type EventHandler<E extends Event = Event> = (event: E, context: HandlerContext) => unknown

/**
 * A handler that Middy wraps, as `middy(handler).use(…)`. Its type asks for all that AWS's types have in a context, also what Lambda's runtime
 * for Node.js 24 has no more, and for what its middlewares put there.
 */
export interface MiddyWrappedHandler<E extends Event = Event> {
  (event: E, context: never): unknown
  use(...middlewares: never[]): unknown
}
