import type { BatchHandler } from './batch-handler.ts'
import type { Field } from './core/entry.ts'
import type { Event, EventDefinition } from './event.ts'
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
  readonly maxEvents: number
  readonly maxBytes: number
  readonly maxWindowMs: number
  gather<Item>(): Gathered<Item>
  call(place: BatchPlace, items: readonly BatchItem[]): BatchCall
}

/** Events that wait to be handed over together. */
export interface Gathered<Item> {
  readonly size: number
  readonly isFull: boolean
  /** When the first of them has waited for as long as any may, on the run's monotonic clock. */
  readonly endsAt: number
  add(item: Item, bytes: number, now: number): void
  /** Takes the first ones out, as many as fit into a batch. */
  take(): Item[]
}

/** Where a batch is handled. */
export interface BatchPlace {
  readonly stream: string
  readonly group: string
  readonly consumerName: string
  readonly maxDeliveries: number
  readonly lambda: Partial<LambdaContext> | undefined
  /** What else is in Lambda's context. */
  readonly extras: object | undefined
  remainingMs(): number
}

/** An event on its way to a batch handler. */
export interface BatchItem {
  readonly event: Event
  readonly entryId: string
  readonly deliveryCount: number
  readonly fields: readonly Field[]
}

/** A batch handler at work. */
export interface BatchCall {
  /** Which entries failed, and with what; rejects if all did. */
  readonly failures: PromiseLike<ReadonlyMap<string, unknown>>
  /** Ends the handler's time. */
  abort(reason: Error): void
}
