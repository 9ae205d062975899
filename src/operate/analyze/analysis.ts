import type { ValueText } from './value-key.ts'

/** What a stream's entries are. Times are in milliseconds since 1970, sizes in bytes. Counts of a sample are estimates for all of the range. */
export interface Analysis {
  readonly stream: string
  /** When it began. */
  readonly at: number
  /** Whose clock says so; `local` where the server refuses to report its own. */
  readonly clock: 'server' | 'local'
  /** `missing`: there is no such key. */
  readonly state: 'stream' | 'missing'
  /** Entries of the whole stream when it began; left out where the server does not report it. */
  readonly length?: number | undefined
  /** Entries that were read. */
  readonly read: number
  /** The same; of a sample, how many the range has, by estimate. Whatever has a share has a share of these. */
  readonly entries: number
  /** The first and the last entry that were read; left out where none was. */
  readonly firstId?: string
  readonly lastId?: string
  /** Left out where all of the range was read. */
  readonly sample?: SampleAnalysis
  /** All that was asked for was read. */
  readonly isComplete: boolean
  /** Why it was not: `interrupted`, or what went wrong after the first page. */
  readonly stopped?: string
  /** Entries of the whole stream that were trimmed or deleted before they were read. */
  readonly missed?: number
  readonly types: FrequencyAnalysis<TypeRow>
  /** Entries that are no events. */
  readonly noEvents: NoEventAnalysis
  readonly producers: FrequencyAnalysis
  /** Values of the field that was named. */
  readonly by?: FieldAnalysis
  /** Of an event: its field `payload`, or, where it has none, all fields but those that say its type, its producer and when it occurred. */
  readonly payloadBytes: SizeAnalysis
  /** Of an entry: its names and values. */
  readonly entryBytes: SizeAnalysis
  readonly hours: HourAnalysis
  /** Left out for a sample, and where there is nothing. */
  readonly perMinute?: MinuteRateAnalysis
  /** Left out where there is nothing. */
  readonly timeline?: TimelineAnalysis
  readonly pending: PendingAnalysis
  /** What the server refused to report, and why. */
  readonly unknown: Readonly<Record<string, string>>
}

/** How a range was sampled. */
export interface SampleAnalysis {
  /** Places in the range at which entries were read. */
  readonly probes: number
  /** A share of one half may be off by that much to either side, in 19 samples of 20; other shares by less. From 0 to 1. */
  readonly margin: number
}

/** How often values occur. */
export interface FrequencyAnalysis<Row extends FrequencyRow = FrequencyRow> {
  /** The most frequent ones, at most as many as asked for. */
  readonly rows: readonly Row[]
  /** All others: between `count` and `count + error`. */
  readonly others: { readonly count: number; readonly error: number }
  /** How many values there are; left out where there are more than are counted one by one. */
  readonly distinct?: number
}

/** A value, and how often it occurs. */
export interface FrequencyRow extends ValueText {
  /** Between `count - error` and `count`. */
  readonly count: number
  /** 0 where each value was counted by itself. */
  readonly error: number
  /** `count` of all entries of the analysis, from 0 to 1. */
  readonly share: number
}

/** An event type. */
export interface TypeRow extends FrequencyRow {
  /** From `occurredAt` to the entry's id; left out where no entry has one. */
  readonly lag?: LagAnalysis
}

/** How long after an event its entry was written, in milliseconds; of a type that was not counted from the start, of part of its entries. */
export interface LagAnalysis {
  /** Entries whose `occurredAt` can be read. */
  readonly measured: number
  /** Those of them that occurred after they were written: clocks differ. They count as 0. */
  readonly ahead: number
  /** Within 2 %. */
  readonly p50Ms: number
  readonly p99Ms: number
  /** Exact. */
  readonly maxMs: number
}

/** Entries that are no events, by what is wrong with them. */
export interface NoEventAnalysis {
  readonly count: number
  readonly reasons: Readonly<Record<string, number>>
}

/** Values of one field. */
export interface FieldAnalysis extends FrequencyAnalysis {
  /** What was asked for. */
  readonly field: string
  /** Entries that have no such field. */
  readonly missing: number
  /** Entries whose payload is no JSON. */
  readonly unreadable: number
}

/** Bytes. `p50` and `p99` are within 2 %, `max` is exact. */
export interface SizeAnalysis {
  readonly measured: number
  readonly mean: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}

/** When entries were written, by their ids. */
export interface HourAnalysis {
  readonly timeZone: string
  /** 24 counts, of the hours from 0 to 23 of a day. */
  readonly counts: readonly number[]
  /** Entries whose id is no date. */
  readonly undated: number
}

/** Entries per minute of the clock, from the minute of the first one to that of the last one. */
export interface MinuteRateAnalysis {
  readonly minutes: number
  readonly mean: number
  /** Within 2 %; minutes without entries count. */
  readonly p50: number
  readonly p99: number
  /** Exact. */
  readonly max: number
  /** The first minute that had that many. */
  readonly maxAt: number
}

/** How many entries were written when: up to 240 steps of equal length. */
export interface TimelineAnalysis {
  readonly startMs: number
  /** Whole minutes. */
  readonly stepMs: number
  readonly counts: readonly number[]
}

/** How old pending entries are, since they were written. */
export interface PendingAnalysis {
  readonly groups: readonly PendingGroup[]
  /** Of all groups together. */
  readonly types: FrequencyAnalysis<PendingTypeRow>
  /** Pending entries that are no events. */
  readonly noEvents: number
}

/** A group, and what of it was read. */
export interface PendingGroup {
  readonly group: string
  readonly pending: number
  /** The oldest ones, up to `maxPending`. */
  readonly examined: number
  /** Those of them that are no longer in the stream: nobody knows their type. */
  readonly trimmed: number
}

/** A type's pending entries. `share` is that of the pending entries that were examined. */
export interface PendingTypeRow extends FrequencyRow {
  /** Within 2 %. */
  readonly p50Ms: number
  readonly p99Ms: number
  /** Exact. */
  readonly oldestMs: number
}
