import type { SettleCounts } from './core/counts.ts'
import { noCounts } from './core/counts.ts'

/**
 * What one consumer did in an invocation. It adds up:
 * `read + claimed = acked + retried + deadLettered + released + superseded + unsettled`.
 */
export interface ConsumerReport extends Readonly<SettleCounts> {
  readonly stream: string
  readonly group: string
  /** New entries that reached the poller. */
  readonly read: number
  /** Entries that the claimer took over to run or to dead-letter. */
  readonly claimed: number
  /** Handlers that had not settled when the invocation ended: they ignored their `signal`. Stands beside the sum. */
  readonly overran: number
  /** Batches (poller) or pages (claimer) that held at least one entry. */
  readonly batches: number
  /** Requests to the server, each with one or more commands. */
  readonly roundTrips: number
  /** The poller's last read found nothing left; the claimer saw every pending entry once. */
  readonly drained: boolean
  /** Every slot was taken, so nothing was read. No failure. */
  readonly slotsBusy: boolean
  /** More than `maxPending` entries were pending, so nothing more was read. No failure. */
  readonly held: boolean
  /** The group was gone and was made again. */
  readonly healed: boolean
  /** Milliseconds from taking the slot to giving it back. */
  readonly durationMs: number
}

/** The report of an invocation: the sums over its consumers, and each consumer's own. */
export interface Report extends Omit<ConsumerReport, 'stream' | 'group'> {
  readonly consumers: readonly ConsumerReport[]
}

/** A report while its run goes on. */
export type OpenReport = { -readonly [Member in keyof ConsumerReport]: ConsumerReport[Member] }

const COUNTS = [
  'read',
  'claimed',
  ...(Object.keys(noCounts()) as (keyof SettleCounts)[]),
  'overran',
  'batches',
  'roundTrips',
] as const satisfies readonly (keyof ConsumerReport)[]

export function openReport(stream: string, group: string): OpenReport {
  return {
    stream,
    group,
    read: 0,
    claimed: 0,
    ...noCounts(),
    overran: 0,
    batches: 0,
    roundTrips: 0,
    drained: false,
    slotsBusy: false,
    held: false,
    healed: false,
    durationMs: 0,
  }
}

/** Sums up: numbers are added (`durationMs` is the longest), `drained` holds if all are, the other flags if any is. */
export function sumReports(consumers: readonly ConsumerReport[]): Report {
  const { stream: _stream, group: _group, ...sum } = openReport('', '')
  for (const report of consumers) {
    for (const key of COUNTS) sum[key] += report[key]
    sum.slotsBusy ||= report.slotsBusy
    sum.held ||= report.held
    sum.healed ||= report.healed
    sum.durationMs = Math.max(sum.durationMs, report.durationMs)
  }
  return { ...sum, drained: consumers.every((report) => report.drained), consumers }
}
