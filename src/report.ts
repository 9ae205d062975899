/**
 * What one consumer did in an invocation. It adds up:
 * `read + claimed = acked + retried + deadLettered + released + superseded + unsettled`.
 */
export interface ConsumerReport {
  readonly stream: string
  readonly group: string
  /** New entries that reached the poller. */
  read: number
  /** Entries that the claimer took over to run or to dead-letter. */
  claimed: number
  /** Entries in an answered XACK. */
  acked: number
  /** How many of `acked` were no longer pending: somebody else had acked them, or the group was lost meanwhile. */
  ackMissed: number
  /** Failed entries that were parked until their next delivery. */
  retried: number
  /** Entries moved to the dead-letter stream. */
  deadLettered: number
  /** Entries handed back because their handler never started; it costs them no delivery. */
  released: number
  /** Entries whose outcome was refused, because another had claimed or settled them, or they were trimmed. */
  superseded: number
  /** Entries whose outcome could not be written: they are still pending, and come again. */
  unsettled: number
  /** Entries trimmed from the stream while they were pending. Stands beside the sum. */
  lost: number
  /** Handlers that had not settled when the invocation ended: they ignored their `signal`. Stands beside the sum. */
  overran: number
  /** Dead letters that `deadLetters.maxLength` removed. */
  deadLettersTrimmed: number
  /** Batches (poller) or pages (claimer) that held at least one entry. */
  batches: number
  /** Requests to the server, each with one or more commands. */
  roundTrips: number
  /** The poller's last read found nothing left; the claimer saw every pending entry once. */
  drained: boolean
  /** Every slot was taken, so nothing was read. No failure. */
  slotsBusy: boolean
  /** The group was gone and was made again. */
  healed: boolean
  durationMs: number
}

/** The report of an invocation: the sums over its consumers, and each consumer's own. */
export interface Report extends Omit<ConsumerReport, 'stream' | 'group'> {
  readonly consumers: readonly ConsumerReport[]
}

export function createConsumerReport(stream: string, group: string): ConsumerReport {
  return {
    stream,
    group,
    read: 0,
    claimed: 0,
    acked: 0,
    ackMissed: 0,
    retried: 0,
    deadLettered: 0,
    released: 0,
    superseded: 0,
    unsettled: 0,
    lost: 0,
    overran: 0,
    deadLettersTrimmed: 0,
    batches: 0,
    roundTrips: 0,
    drained: false,
    slotsBusy: false,
    healed: false,
    durationMs: 0,
  }
}

/** Sums up: numbers are added (`durationMs` is the longest), `drained` holds if all are, the other flags if any is. */
export function sumReports(consumers: readonly ConsumerReport[]): Report {
  const { stream: _stream, group: _group, ...sum } = createConsumerReport('', '')
  for (const report of consumers) {
    for (const key of COUNTS) sum[key] += report[key]
    sum.slotsBusy ||= report.slotsBusy
    sum.healed ||= report.healed
    sum.durationMs = Math.max(sum.durationMs, report.durationMs)
  }
  return { ...sum, drained: consumers.every((report) => report.drained), consumers }
}

/** The members of a report that settling changes. */
export type SettleCounts = Pick<
  ConsumerReport,
  | 'acked'
  | 'ackMissed'
  | 'retried'
  | 'deadLettered'
  | 'released'
  | 'superseded'
  | 'unsettled'
  | 'lost'
  | 'deadLettersTrimmed'
>

const COUNTS = [
  'read',
  'claimed',
  'acked',
  'ackMissed',
  'retried',
  'deadLettered',
  'released',
  'superseded',
  'unsettled',
  'lost',
  'overran',
  'deadLettersTrimmed',
  'batches',
  'roundTrips',
] as const satisfies readonly (keyof ConsumerReport)[]
