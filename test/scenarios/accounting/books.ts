import type { Observed, Report } from 'millrace'

/** What the chaos did to an invocation, so that its outcomes need not be what its report says. */
export type Trouble =
  /** Its connection was cut: a reply never came, and what was sent again may have been done before. */
  | 'cut'
  /** Somebody claimed what it was still running. */
  | 'robbed'
  /** Its group was destroyed. */
  | 'orphaned'

/** An invocation of a poller or claimer, as whoever called it knows it. */
export interface Invocation {
  readonly requestId: string
  readonly action: Report['action']
  readonly troubles: ReadonlySet<Trouble>
  /** Also a failing invocation's. */
  readonly report: Report
  /** Of a failing one, the groups that it failed for, once per failure. */
  readonly failedFor: readonly string[]
}

/** How a handler ended, as it knows itself; `open`: its process was gone, or it never does. */
export type Ending = 'succeeded' | 'failed' | 'hopeless' | 'unavailable' | 'late' | 'open'

/** One delivery to a handler, noted by the handler. */
export interface Visit {
  readonly requestId: string
  readonly group: string
  readonly entryId: string
  readonly eventType: string
  readonly eventId: string
  readonly deliveryCount: number
  /** Which life of the entry in its group: after a lost group and a redrive its deliveries count anew. */
  readonly life: string
  readonly ending: Ending
}

/** What an observer got, and in which life of the entry where it was a dead letter. */
export type Told = {
  readonly [Name in keyof Observed]: { readonly name: Name; readonly observed: Observed[Name]; readonly life: string }
}[keyof Observed]

/** A publisher's call, as its caller knows it: the ids that it got, `undefined` where there was none. */
export interface Publishing {
  readonly types: readonly string[]
  /** Under which ids it published; some more than once. */
  readonly eventIds: readonly string[]
  readonly entryIds: readonly (string | undefined)[]
  readonly isCut: boolean
}

/** An entry that was taken out of the stream, and the groups that it was pending in, or had not reached. */
export interface Trimmed {
  readonly entryId: string
  readonly pendingIn: readonly string[]
  readonly unreadIn: readonly string[]
}

/** A group that was destroyed. */
export interface LostGroup {
  readonly group: string
  /** Below it nothing comes again. */
  readonly mark: string
  /** What was pending and not set aside below the mark. */
  readonly pending: readonly string[]
  /** What was set aside below the mark: it is pending again, by the index. */
  readonly kept: readonly string[]
  /** Entries above the mark that it had read. */
  readonly comeAgain: readonly string[]
}

/** A dead letter as the server has it. */
export interface Letter {
  readonly id: string
  readonly entryId: string
  readonly reason: string
  readonly eventType: string | undefined
}

/** A dead letter that an operator took, and what for. */
export interface Operated {
  readonly group: string
  readonly letter: Letter
  readonly outcome: 'redriven' | 'dropped'
}

/** What a claim measured, as its report and its metrics have it, and what the server said right after it. */
export interface Measurement {
  readonly group: string
  readonly reported: Readonly<Record<string, number | undefined>>
  readonly written: Readonly<Record<string, number | undefined>>
  readonly server: Readonly<Record<string, number | undefined>>
  /** Milliseconds, the least and the most that the oldest pending entry can have been old. */
  readonly oldestPendingMs: readonly [number, number]
}

/** What the server has of a group in the end. */
interface GroupHoldings {
  readonly pending: readonly string[]
  readonly lastDeliveredId: string
  readonly letters: readonly Letter[]
}

/** How a run is done. */
export interface BooksOptions {
  /** Consumers are `idempotent`, and publishers publish some events more than once. */
  readonly once?: boolean
  /** Group `search` keeps the order of keys. */
  readonly ordered?: boolean
}

/** All that was written down of a run, by everybody who took part. Nobody copied from another. */
export interface Books {
  readonly once: boolean
  /** Groups that keep the order of keys. */
  readonly ordered: readonly string[]
  readonly groups: readonly string[]
  readonly maxDeliveries: number
  readonly service: string
  readonly publishings: readonly Publishing[]
  /** Entries that were appended past the publishers, and are no events. */
  readonly foreign: readonly string[]
  readonly invocations: readonly Invocation[]
  /** Request ids of those whose process was killed: they have no report. */
  readonly killed: readonly string[]
  readonly visits: readonly Visit[]
  readonly told: readonly Told[]
  /** Of every group with an `onDeadLetter`: how often it was called, and how often it failed. */
  readonly notices: Readonly<Record<string, { readonly called: number; readonly failed: number }>>
  /** Lines of embedded metric format. */
  readonly lines: readonly string[]
  readonly trimmed: readonly Trimmed[]
  readonly lostGroups: readonly LostGroup[]
  readonly operated: readonly Operated[]
  readonly measurements: readonly Measurement[]
  /** Ids in the stream, oldest first. */
  readonly stream: readonly string[]
  /** Event ids by entry id, as the server has them or had them before it was trimmed; of what is an event. */
  readonly eventIds: ReadonlyMap<string, string>
  readonly holdings: Readonly<Record<string, GroupHoldings>>
}
