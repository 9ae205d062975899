import type { BatchHandler } from './batch-handler.ts'
import type { Clock } from './clock.ts'
import type { Outcome } from './core/outcome.ts'
import type { Event, EventDefinition } from './event.ts'
import type { Delivery } from './group/group.ts'
import type { EventHandler, LambdaContext } from './handler.ts'

/** An event type bound to its handler. */
export interface Route {
  readonly event: EventDefinition
  readonly handler: EventHandler<never> | BatchHandler<never>
  /** How events come together for a batch handler; left out where each has a call of its own. */
  readonly batching?: Batching
}

/** How a batch handler gets its events. It comes with `onBatch`, so that a function without batches is deployed without it. */
export interface Batching {
  open<Item extends BatchItem>(host: BatchHost<Item>, run: BatchRun): Batches<Item>
}

/** The events of one route that wait to be handed over together. */
export interface Batches<Item> {
  add(item: Item): void
  /**
   * Hands over, at most so many calls at once: complete batches, and whatever need not or cannot wait for more. Where there is no time left they
   * are released.
   *
   * @returns When the next one has waited long enough, on the run's monotonic clock; `undefined` if none waits.
   */
  flush(atOnce: number): number | undefined
}

/** What runs the handlers, as batches see it. */
export interface BatchHost<Item> {
  /** Events may wait for others for as long as their route allows. */
  readonly mayLinger: boolean
  /** Calls of handlers under way. */
  readonly running: number
  /** Some entries are still checked by an asynchronous schema, and may join the others. */
  readonly isPreparing: boolean
  handOver(items: readonly Item[], call: (remainingMs: () => number) => BatchCall): void
}

/** The run that batches are part of. */
export interface BatchRun {
  readonly parts: BatchPlace & { readonly clock: Clock }
  /** Whether there is time to wait, and whether there is time to start. */
  mayWait(): boolean
  mayStart(): boolean
}

/** Where a batch is handled. */
export interface BatchPlace {
  readonly consumer: {
    readonly stream: string
    readonly group: string
    readonly settings: { readonly maxDeliveries: number }
  }
  readonly slot: { readonly consumerName: string }
  readonly lambda: Partial<LambdaContext> | undefined
  /** What else is in Lambda's context. */
  readonly extras: object | undefined
}

/** An event on its way to a batch handler. */
export interface BatchItem {
  readonly delivery: Delivery
  /** There once it waits for others. */
  readonly prepared: { readonly event: Event } | undefined
  readonly end: (outcome: Outcome) => void
}

/** A batch handler at work. */
export interface BatchCall {
  /** Which entries failed, and with what; rejects if all did. */
  readonly failures: PromiseLike<ReadonlyMap<string, unknown>>
  /** Ends the handler's time. */
  readonly abort: (reason: Error) => void
}
