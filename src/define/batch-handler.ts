import type { Field } from '../core/entry.ts'
import type { Event } from './event.ts'
import type { LambdaContext } from './handler.ts'

/** An event of a batch, and what its entry says of itself. */
export type BatchEvent<E extends Event = Event> = E & {
  /** What `batchItemFailures` names. */
  readonly entryId: string
  /** This attempt's number, from 1; the server counts. */
  readonly deliveryCount: number
  /** `<group>:<eventId>`, without an eventId `<group>:<stream>:<entryId>`: the same on every delivery. */
  readonly idempotencyKey: string
  /** The entry's fields as they are in the stream: Buffers over TCP, strings over REST. */
  readonly fields: readonly Field[]
}

/** What a batch handler knows beside its events. A fresh object a call. */
export interface BatchContext extends LambdaContext {
  readonly stream: string
  readonly group: string
  readonly consumerName: string
  /** Of its route. */
  readonly maxDeliveries: number
  /** Aborted when `handlerTimeoutMs` is over: pass it on to whatever can be cancelled. */
  readonly signal: AbortSignal
  /** Milliseconds left for this call. */
  getRemainingTimeInMillis(): number
}

/** Which events of a batch failed, as Lambda has it. */
export interface BatchResponse {
  readonly batchItemFailures?:
    | readonly {
        /** The event's `entryId`. */
        readonly itemIdentifier: string
        /** Why; steers like something thrown: `NonRetryableError`, `RetryAfterError`. */
        readonly error?: unknown
      }[]
    | null
}

/**
 * A plain function of many events, all of one type. It answers nothing if all succeeded, or which ones failed; what it throws goes for all of
 * them. Any other answer is a failure of all.
 *
 * @see https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
 */
export type BatchHandler<E extends Event = Event> = (
  events: readonly BatchEvent<E>[],
  context: BatchContext,
) => BatchAnswer | Promise<BatchAnswer>

// biome-ignore lint/suspicious/noConfusingVoidType: a handler without an answer may be an arrow function or a declaration
type BatchAnswer = BatchResponse | null | undefined | void
