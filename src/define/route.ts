import type { Entry } from '../core/entry.ts'
import type { ConsumerKeys } from '../core/keys.ts'
import type { BatchContext, BatchHandler } from './batch-handler.ts'
import type { Event, EventDefinition } from './event.ts'
import type { BatchLimits, Gathered, Gathering } from './gathering.ts'
import type { EventHandler } from './handler.ts'
import type { RouteRules } from './route-options.ts'

/** An event type bound to its handler. */
export interface Route extends RouteRules {
  readonly event: EventDefinition
  readonly handler: EventHandler<never> | BatchHandler<never>
  /** The handler within the wraps of consumer and route; left out where there are none. */
  readonly wrapped?: (input: unknown, context: object) => unknown
  /** How events come together for a batch handler; left out where each has a call of its own. */
  readonly batching?: BatchRouteRules
}

/** How a batch handler gets its events. It comes with `onBatch`, so that a function without batches is deployed without it. */
export interface BatchRouteRules {
  readonly limits: BatchLimits
  /** A batch that failed as a whole comes again in parts. */
  readonly bisectOnError: boolean
  /** @param maxDeliveries Of the route's events. */
  gather<Item extends EventForBatch>(maxDeliveries: number): Gathering<Item>
  /** @param surroundings What the handler's context says beside its signal and its time. */
  call(
    items: readonly EventForBatch[],
    surroundings: SharedBatchContext,
    remainingMs: () => number,
    keys: ConsumerKeys,
    wrapped?: Route['wrapped'],
  ): RunningBatch
}

export type SharedBatchContext = Omit<BatchContext, 'signal' | 'getRemainingTimeInMillis'>

/** What all handlers of a run get to know; how many deliveries there are differs from route to route. */
export type RunContext = Omit<SharedBatchContext, 'maxDeliveries'>

/** An event on its way to a batch handler. */
export interface EventForBatch extends Gathered {
  /** The others of its call come in the order of their keys. */
  readonly isInOrder?: boolean
  readonly deliveryCount: number
  readonly delivery: Entry
  readonly prepared: { readonly event: Event } | undefined
}

/** A batch handler at work. */
export interface RunningBatch {
  /** Which entries failed, and with what; rejects if all did. */
  readonly failures: PromiseLike<ReadonlyMap<string, unknown>>
  /** Ends the handler's time. */
  readonly abort: (reason: Error) => void
  /** Its call has ended. @returns What `effects` collected for it, if anything was asked for. */
  endEffects(): object | undefined
}
