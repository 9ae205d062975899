import { batchFailures } from '../core/batch-answer.ts'
import { assertAwaitableFunction } from '../core/handler-function.ts'
import type { ConsumerKeys } from '../core/keys.ts'
import { assertBoolean, assertInteger, assertKnownOptions, withDefaults } from '../core/options.ts'
import { promiseIfThenable } from '../core/thenable.ts'
import { quotedValue } from '../errors.ts'
import type { BatchEvent, BatchHandler } from './batch-handler.ts'
import { keepBatch } from './batch-in-hand.ts'
import { createBisectingGathering } from './bisecting.ts'
import type { Event, EventDefinition, EventOf } from './event.ts'
import { assertEventDefinition } from './event.ts'
import { createGathering } from './gathering.ts'
import type { BatchRouteRules, EventForBatch, Route, RunningBatch, SharedBatchContext } from './route.ts'
import type { RouteOptions } from './route-options.ts'
import { ROUTE_OPTION_NAMES, resolveRouteRules } from './route-options.ts'

/** How large a batch may get, and how long it may wait for that. A wrap in `use` gets the array of events; `when` is asked of each before it joins one. */
export interface BatchOptions<E extends Event = Event> extends RouteOptions<E> {
  /** Events per call, 1 to 10,000. Default 100. A claimer hands over no more than the consumer's `concurrency`. */
  readonly maxEvents?: number
  /** Bytes of the entries' names and values per call, 1 or more; an event that is larger comes alone. Default 4,194,304. */
  readonly maxBytes?: number
  /**
   * Milliseconds that the first event of a batch may wait for others while the poller reads on, up to 300,000; no longer than the invocation has.
   * Default 0: a batch is what one read brought.
   */
  readonly maxBatchingWindowMs?: number
  /**
   * Whether a batch that failed as a whole, by what its handler threw or by its time, comes again in parts: at delivery d at most `maxEvents` / 2^(d−1) events,
   * rounded up, and at the last delivery one by one, so that no event becomes a dead letter for another. Events of different delivery counts never
   * share a call. A `NonRetryableError` is then taken for an event's own only where it was alone in its call, or is named by `batchItemFailures`. It
   * needs `maxDeliveries` of 2 or more. Default false.
   */
  readonly bisectOnError?: boolean
}

const DEFAULTS = { maxEvents: 100, maxBytes: 4_194_304, maxBatchingWindowMs: 0 }
const OWN_NAMES = [...ROUTE_OPTION_NAMES, ...Object.keys(DEFAULTS), 'bisectOnError']

/**
 * Binds an event type to the handler of many events: a function of your own, or `lambdaFunction(name)` of `millrace/lambda`.
 *
 * @throws {TypeError | RangeError} No definition, no function, or a bad option.
 */
export function onBatch<Definition extends EventDefinition>(
  event: Definition,
  handler: BatchHandler<EventOf<Definition>>,
  options: BatchOptions<EventOf<Definition>> = {},
): Route {
  const action = 'define a batch route'
  assertEventDefinition(action, event)
  const name = `${action} for ${quotedValue(event.type)}`
  assertAwaitableFunction(name, 'the handler', handler, 'events, context')
  assertKnownOptions(name, options, OWN_NAMES)
  const { maxEvents, maxBytes, maxBatchingWindowMs, bisectOnError = false, ...rules } = options
  const limits = Object.freeze(withDefaults(DEFAULTS, { maxEvents, maxBytes, maxBatchingWindowMs }))
  assertInteger(name, 'maxEvents', limits.maxEvents, 1, 10_000)
  assertInteger(name, 'maxBytes', limits.maxBytes, 1)
  assertInteger(name, 'maxBatchingWindowMs', limits.maxBatchingWindowMs, 0, 300_000)
  assertBoolean(name, 'bisectOnError', bisectOnError)
  const batching: BatchRouteRules = {
    limits,
    bisectOnError,
    gather: (maxDeliveries) =>
      bisectOnError ? createBisectingGathering(limits, maxDeliveries) : createGathering(limits),
    call: (...args) => callBatch(handler as BatchHandler, ...args),
  }
  return Object.freeze({
    event,
    handler: handler as BatchHandler<never>,
    batching,
    ...resolveRouteRules(name, rules as RouteOptions<never>),
  })
}

function callBatch(
  handler: BatchHandler,
  items: readonly EventForBatch[],
  surroundings: SharedBatchContext,
  remainingMs: () => number,
  keys: ConsumerKeys,
  wrapped: Route['wrapped'],
): RunningBatch {
  const abort = new AbortController()
  const events = items.map((item) => toBatchEvent(item, surroundings.group))
  const entryIds = items.map(({ delivery }) => delivery.id)
  const context = { ...surroundings, signal: abort.signal, getRemainingTimeInMillis: remainingMs }
  const call = async () => {
    const answer: unknown = wrapped ? wrapped(events, context) : handler(events, context)
    return batchFailures(await (promiseIfThenable(answer) ?? answer), entryIds)
  }
  const endEffects = keepBatch(context, { keys, events, isInOrder: items[0]?.isInOrder === true })
  return { failures: call(), abort: (reason) => abort.abort(reason), endEffects }
}

function toBatchEvent({ delivery, deliveryCount, prepared }: EventForBatch, group: string): BatchEvent {
  const event = prepared?.event as Event
  return {
    ...event,
    entryId: delivery.id,
    deliveryCount,
    idempotencyKey: `${group}:${event.eventId}`,
    // the client's Buffers share memory with the entry's neighbours
    fields: delivery.fields.map(([name, value]) => [copy(name), copy(value)] as const),
  }
}

function copy(bytes: Buffer | string): Buffer | string {
  return typeof bytes === 'string' ? bytes : Buffer.from(bytes)
}
