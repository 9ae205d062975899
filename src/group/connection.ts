import type { Field } from '../core/entry.ts'
import { wrongUseError } from '../core/options.ts'
import type { Aggregate, AggregatePage, ExpectingEntry } from './aggregates.ts'
import type { DelayedEntries, Delaying } from './delays.ts'
import type { Group, GroupAddress } from './group.ts'
import type { Keeping } from './keeping.ts'
import type { Pausing } from './pausing.ts'
import type { MeasureUndone } from './undone.ts'

/** How a stream is bounded. */
export type StreamTrim =
  | { readonly kind: 'length'; readonly maxLength: number; readonly exact: boolean }
  /** Entries that are older than that on the server's clock go. */
  | { readonly kind: 'age'; readonly retentionMs: number; readonly exact: boolean }
  | { readonly kind: 'none' }

/** A key that stands for `windowMs`, unless a poller deletes it before: who raises it wakes that poller, nobody else does. */
export interface WakeFlag {
  readonly key: string
  readonly windowMs: number
}

/** An event that is added unless one of its id was within the window before. */
export interface OnceWithin {
  readonly eventId: string
  readonly windowMs: number
  /** Whose markers say that it was: a stream's, or a set's. Default: the stream that it goes into. */
  readonly markersOf?: string | undefined
}

/** What became of entries and flags, in order. */
export interface AppendResult {
  /** An id, the time at which a delayed one is due, or an error for each entry; an error also where it was not sent any more, or no reply came. */
  readonly answers: readonly (string | number | Error)[]
  /** The places of entries that were not added, since their id was published within its window: their answer is that of the first. Left out: none. */
  readonly duplicates?: ReadonlySet<number>
  /** Whether each flag was raised; false if it stood already. */
  readonly raised: readonly (boolean | Error)[]
}

/** Appends entries and then raises flags: in one round trip, or a bounded request after the other. */
export type AppendEntries = (
  stream: string,
  entries: readonly (readonly Field[])[],
  trim: StreamTrim,
  flags?: readonly WakeFlag[],
  delayed?: DelayedEntries,
  once?: readonly (OnceWithin | undefined)[],
) => Promise<AppendResult>

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

/** A server, or something that behaves like one. What the option `redis` takes. */
export interface Connection {
  /** Pending entries that the server lets one consumer name have. Default: any number. */
  readonly maxPendingPerName?: number | undefined
  /** @param remainingMs Milliseconds left to the invocation: no call waits for an answer beyond them. */
  group(address: GroupAddress, remainingMs?: () => number): Group
  /** Left out by connections to servers: see `createAppender`. */
  readonly append?: AppendEntries
  /** Left out by connections to servers: see `createExpectingAppender` and `createAggregateReader`. */
  readonly aggregates?: Aggregates
  /** Left out by connections to servers: see `pausingOf`. */
  readonly pausing?: Pausing
  /** Left out by connections to servers: see `promotionOf` and `createCanceller`. */
  readonly delaying?: Delaying
  /** Left out by connections to servers: see `keepingOf`. */
  readonly keeping?: Keeping
  /** Left out by connections to servers: see `createUndoneMeasure`. */
  readonly undone?: MeasureUndone
  /** @throws {TypeError} A policy of the consumer needs what is not there. Left out: all is there, or the server refuses it. */
  assertServes?(action: string, consumer: GroupAddress): void
  /** Lets go of the sockets. Over TCP the next command opens others; over REST it is refused. One in memory stays as it is. */
  close(): Promise<void>
}

/** @throws {TypeError} Not a connection: a client, a URL, or nothing. */
export function assertConnection(action: string, redis: Connection): void {
  if (typeof redis?.group === 'function') return
  throw wrongUseError(action, 'redis must be a connection, as from connectIoredis(url) or connectUpstash(options)')
}
