import type { Entry } from '../core/entry.ts'
import type { Blocker } from '../core/janitor-report.ts'

/** What a stream is trimmed by, and who is asked. */
export interface KeepingRequest {
  /** Whose lease it is. */
  readonly token: string
  readonly leaseMs: number
  /** Whether ranges are archived before they are trimmed. */
  readonly archives: boolean
  /** What is beyond so many entries may go. Without any of these three all may go that is done. */
  readonly maxLength: number | undefined
  /** What is older than so many milliseconds may go. */
  readonly retentionMs: number | undefined
  /** What is before that id may go. */
  readonly beforeId: string | undefined
  /** Entries from that id on stay. */
  readonly keepFrom: string | undefined
  /** A range has no more entries than that, and no more bytes, unless it is one entry. */
  readonly maxEntries: number
  readonly maxBytes: number
  /** Nothing goes unless somebody has done it: false for a stream that no group needs, as one of dead letters. */
  readonly needsGroups: boolean
  /** Groups that need nothing, whatever they have not done. */
  readonly ignored: readonly string[]
  /** The groups whose keys are given along: those that are registered, and those that there are, without the ignored ones. */
  readonly groups: readonly string[]
  /** Groups that there are, whose keys the user may not read: they need everything. */
  readonly denied: readonly string[]
}

/** Entries that lie next to each other at the start of a stream. */
export interface EntryRange {
  readonly firstId: string
  readonly lastId: string
  readonly entries: number
}

/** What one step found and did. */
export interface KeepingStep {
  /**
   * `busy`: another janitor has the lease. `groups`: there are others than those that were named. `range`: there is a range in hand, or one was trimmed. `held`: the range is
   * archived, and somebody needs it again. `lapsed`: the lease or the range is another's by now. `nothing`: no entry may go.
   */
  readonly is: 'busy' | 'groups' | 'range' | 'held' | 'lapsed' | 'nothing'
  /** The groups, where there are others. */
  readonly groups: readonly string[]
  /** The range that is in hand now, or that was trimmed. */
  readonly range: EntryRange | undefined
  /** Whether the range was planned by an earlier step, and whether it was archived by then. */
  readonly isRepeated: boolean
  readonly isArchived: boolean
  /** Entries that this step trimmed. */
  readonly trimmed: number
  /** Entries in the stream after it. */
  readonly length: number
  /** Entries that left the stream before a registered group had done them, and that no step had seen before. */
  readonly trimmedAhead: number
  /** Who keeps what is due to go; only where a step says that nothing more may go, or that its range is held. */
  readonly blockers: readonly Blocker[]
  /** Groups that there are, that nobody registered, and that are not ignored. */
  readonly unregistered: readonly string[]
}

/** A floor by age: entries stay for so many milliseconds; `undefined`: for ever. */
export function ageFloor(ms: number | undefined): string {
  return ms === undefined ? 'age' : `age ${ms}`
}

/** The age of a floor in milliseconds, without an end where it is for ever; `undefined` where the floor is no age. */
export function readAgeFloor(text: string): number | undefined {
  const [, ms = 'Infinity'] = /^age(?: (\d+))?$/.exec(text) ?? [undefined, '']
  return ms === '' ? undefined : Number(ms)
}

/** A registry, and what trims a stream by it. Each method is one step on the server. */
export interface Keeping {
  /** @returns Group name → its registration's text. */
  registered(stream: string): Promise<ReadonlyMap<string, string>>
  /** Registers groups, or, where a text is `undefined`, takes them off. */
  register(stream: string, groups: Readonly<Record<string, string | undefined>>): Promise<void>
  /** Sets floors, or, where a text is `undefined`, takes them off: the id from which on entries stay, or the age below which they do, as `ageFloor` writes it. */
  keepFrom(stream: string, floors: Readonly<Record<string, string | undefined>>): Promise<void>
  /** Takes the lease, and the next range in hand; without an archive it is trimmed in the same step. */
  plan(stream: string, request: KeepingRequest): Promise<KeepingStep>
  /** Some of a range's entries, from an id on, the first at least: so many that they are bounded. */
  read(stream: string, firstId: string, lastId: string): Promise<readonly Entry[]>
  /** Notes that a range is archived, and trims it unless somebody needs it. */
  settle(stream: string, request: KeepingRequest, range: EntryRange): Promise<KeepingStep>
  /** Gives the lease back, if it is still ours. */
  release(stream: string, token: string): Promise<void>
}
