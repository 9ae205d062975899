import type { AggregateName } from '../core/aggregate-errors.ts'
import type { Field } from '../core/entry.ts'

/** Which one of a stream; without an id the stream itself. */
export type Aggregate = Omit<AggregateName, 'stream'>

/** An event, and the version at which it finds its aggregate. */
export interface ExpectingEntry extends Aggregate {
  /** The place of the field that says its event's id: by it an event that is published again is known. */
  readonly idField: number
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

/** Events that are appended in one step, or read at once. */
export const MAX_AGGREGATE_EVENTS = 100
/** What they have together, of names and values; one that is larger goes alone. */
export const MAX_AGGREGATE_BYTES = 1_048_576
/** Fields of one of them: more do not fit into one call of XADD within a script. */
export const MAX_AGGREGATE_FIELDS = 1_000
