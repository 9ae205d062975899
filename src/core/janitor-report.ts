/** Why a group, or whoever else, keeps entries from being trimmed. */
export type BlockerReason =
  /** It has not read them. */
  | 'unread'
  /** They are pending: in hand, or set aside. */
  | 'pending'
  /** They are above its mark, at which it is made again if it is lost. */
  | 'mark'
  /** It is registered, and there is no such group: what is above its mark comes again. */
  | 'lost'
  /** It was made again, and has not got back yet what was set aside. */
  | 'healing'
  /** Nobody registered it, and the janitor's user may not read its keys, or its name is no text: nobody knows what it needs. */
  | 'denied'
  /** Its registration says that entries stay for so long. */
  | 'retention'
  /** Not a group: an id that somebody keeps beside the stream, or that the janitor was given. */
  | 'floor'
  /** Not a group of this stream: one of another stream has its dead letters here as well, and keeps them for longer. */
  | 'letters'
  /** Not a group: no group is registered, and there is none. */
  | 'no-groups'

/** Who keeps entries from being trimmed that are due to go. */
export interface Blocker {
  /** A group's name, or that of a floor; of `letters` the stream and the group as JSON, `["orders","billing"]`; `''`: there is no group. */
  readonly name: string
  readonly reason: BlockerReason
  readonly isRegistered: boolean
  /** The last id that it does not need. */
  readonly doneId: string
  /** Milliseconds for which it has blocked, as far as janitors have seen. */
  readonly sinceMs: number
}

/** What a janitor did to one stream in a run. With an archive it adds up: `archived + resumed = trimmed + gone + held`. */
export interface JanitorStreamReport {
  readonly stream: string
  /** The name of the set whose stream it is; left out for one of no set. */
  readonly set?: string
  /** Whose dead letters the stream has; left out for one of events. */
  readonly deadLettersOf?: { readonly stream: string; readonly group: string }
  /** Entries that this run archived. */
  readonly archived: number
  /** Entries that an earlier run had archived, and had not trimmed. */
  readonly resumed: number
  /** Entries that this run trimmed. */
  readonly trimmed: number
  /** Entries of its ranges that somebody else had trimmed or deleted by then. */
  readonly gone: number
  /** Entries that are archived and still there, since somebody needs them again. */
  readonly held: number
  /** Entries that are left in the stream. */
  readonly kept: number
  /** Entries that were trimmed by somebody else before a registered group had done them, and that no run had seen before. */
  readonly trimmedAhead: number
  /** Ranges that were trimmed. */
  readonly ranges: number
  /** The run came to the stream; false: its time was over before, so that nothing else here was measured. */
  readonly reached: boolean
  /** Nothing more may go. */
  readonly drained: boolean
  /** Another janitor had the stream, so that nothing was done. No failure. */
  readonly busy: boolean
  /** Who keeps entries that are due to go, and for how long; those that have done least come first. */
  readonly blockers: readonly Blocker[]
  /** Groups that nobody registered. They count like those that are registered. */
  readonly unregistered: readonly string[]
  readonly durationMs: number
}

/** Numbers of a stream's report that are added up. */
const SUMMED = ['archived', 'resumed', 'trimmed', 'gone', 'held', 'kept', 'trimmedAhead', 'ranges'] as const

/** The report of a janitor's run: the sums over its streams, and each stream's own. */
export interface JanitorReport extends Pick<JanitorStreamReport, (typeof SUMMED)[number] | 'drained' | 'durationMs'> {
  readonly action: 'trim'
  readonly streams: readonly JanitorStreamReport[]
}

export type OpenJanitorReport = { -readonly [Member in keyof JanitorStreamReport]: JanitorStreamReport[Member] }

export function openJanitorReport(
  stream: string,
  of: Pick<JanitorStreamReport, 'set' | 'deadLettersOf'> = {},
): OpenJanitorReport {
  return {
    stream,
    ...of,
    archived: 0,
    resumed: 0,
    trimmed: 0,
    gone: 0,
    held: 0,
    kept: 0,
    trimmedAhead: 0,
    ranges: 0,
    reached: false,
    drained: false,
    busy: false,
    blockers: [],
    unregistered: [],
    durationMs: 0,
  }
}

export function sumJanitorReports(streams: readonly JanitorStreamReport[], durationMs: number): JanitorReport {
  const sums = Object.fromEntries(SUMMED.map((name) => [name, streams.reduce((sum, report) => sum + report[name], 0)]))
  return {
    action: 'trim',
    ...(sums as Pick<JanitorReport, (typeof SUMMED)[number]>),
    drained: streams.every(({ drained }) => drained),
    durationMs: Math.round(durationMs),
    streams,
  }
}
