import type { BatchHandler } from './batch-handler.ts'
import type { Event, EventDefinition } from './event.ts'
import type { Delivery } from './group/group.ts'
import type { EventHandler, LambdaContext } from './handler.ts'
import type { AnyGathering } from './run/gathering.ts'

/** An event type bound to its handler. */
export interface Route {
  readonly event: EventDefinition
  readonly handler: EventHandler<never> | BatchHandler<never>
  /** How events come together for a batch handler; left out where each has a call of its own. */
  readonly batching?: Batching
}

/** How a batch handler gets its events. It comes with `onBatch`, so that a function without batches is deployed without it. */
export interface Batching {
  gather<Item extends BatchItem>(): AnyGathering<Item>
  call(place: BatchPlace, items: readonly BatchItem[], remainingMs: () => number): BatchCall
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
  readonly prepared: { readonly event: Event } | undefined
}

/** A batch handler at work. */
export interface BatchCall {
  /** Which entries failed, and with what; rejects if all did. */
  readonly failures: PromiseLike<ReadonlyMap<string, unknown>>
  /** Ends the handler's time. */
  readonly abort: (reason: Error) => void
}
