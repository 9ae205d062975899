import type { Field } from '../core/entry.ts'
import type { AppendResult, StreamTrim, WakeFlag } from './connection.ts'

/** An aggregate of a stream; without an id it is the stream itself. */
export interface Aggregate {
  readonly aggregateType?: string | undefined
  readonly aggregateId?: string | undefined
}

/** An event, and the version at which it finds its aggregate. */
export interface ExpectingEntry extends Aggregate {
  readonly eventId: string
  /** How many events the aggregate has before it. */
  readonly expectedVersion: number
  readonly fields: readonly Field[]
}

/** Events of an aggregate, from the version that was asked for on, each the next. */
export interface AggregatePage {
  /** How many events the aggregate has had, also those that are gone. */
  readonly newestVersion: number
  /** None where the first one that was asked for is gone, or not there yet. */
  readonly entries: readonly { readonly id: string; readonly fields: readonly Field[] }[]
}

/** Events of aggregates: their versions count up by one, whoever publishes. */
export interface Aggregates {
  /**
   * Appends entries in one step, all or none. Those that stand at their versions already are not added again. Where an aggregate is at another version, a
   * VersionConflictError is the answer of all.
   */
  append(
    stream: string,
    entries: readonly ExpectingEntry[],
    trim: StreamTrim,
    flags?: readonly WakeFlag[],
  ): Promise<AppendResult>
  /** One page: so many events that it is bounded, of these versions. */
  read(stream: string, aggregate: Aggregate, from: number, to: number): Promise<AggregatePage>
}

/** Events that are appended in one step, or read at once. */
export const MAX_AGGREGATE_EVENTS = 100
/** What they have together, of names and values; one that is larger goes alone. */
export const MAX_AGGREGATE_BYTES = 1_048_576
