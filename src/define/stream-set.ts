import type { ConsumerKeys } from '../core/keys.ts'
import type { SetPlaces } from './set-places.ts'

/**
 * Several streams that one consumer reads and one publisher writes, as `prioritized` makes it. What `stream` takes in `defineConsumer` and `createPublisher`. Its methods are for
 * those; who uses none is deployed without their code.
 */
export interface StreamSet {
  /** Its name, which tools show. No stream has it. */
  readonly name: string
  /** Of its streams, the highest first. */
  readonly priorities: readonly string[]
  /** The key of each stream, in that order. */
  readonly streams: readonly string[]
  /** The stream of one priority. @throws {RangeError} None, or one that is unknown. */
  streamOf(action: string, priority: unknown): string
  /** Whose markers say that an event's id was published: they are the set's, so that it counts once whatever its priority. */
  readonly markersOf: string
  /** Appends entries, stream by stream in the order in which they come first, and puts the answers together. */
  readonly appendEach: AppendEach
  /** Makes one consumer a stream, the highest priority first. */
  consumers<Options extends MemberOptions, Consumer>(
    options: Options,
    define: (options: Omit<Options, 'stream'> & { readonly stream: string }, set: SetMembership) => Consumer,
  ): readonly Consumer[]
}

/** What a set says itself, or shares out, of a consumer's options. */
interface MemberOptions {
  readonly group: string
  readonly startAt?: string
  readonly maxBytes?: number
}

/** Which of a set's streams a consumer reads. */
export interface SetMembership {
  /** The set's name. */
  readonly name: string
  readonly priority: string
  /** How much of what the members have a place for is this one's, while all of them have work. */
  readonly weight: number
  /** Of the set, the highest first. */
  readonly priorities: readonly string[]
  /** A member's keys, with those of flow control, which all members share. */
  readonly shareGates: (keys: ConsumerKeys, group: string) => ConsumerKeys
  /** The places of one invocation. The same function for all members. */
  readonly share: (atOnce: number) => SetPlaces
}

/** What one stream's append answers, by the places of its entries. */
interface Appended {
  readonly answers: readonly (string | number | Error)[]
  readonly duplicates?: ReadonlySet<number>
  readonly raised: readonly (boolean | Error)[]
}

type AppendEach = (
  streams: readonly string[],
  append: (stream: string, places: readonly number[]) => Promise<Appended>,
) => Promise<Appended>

export function isStreamSet(stream: unknown): stream is StreamSet {
  return typeof (stream as Partial<StreamSet> | null)?.consumers === 'function'
}
