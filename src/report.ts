import type { SettleCounts } from './core/counts.ts'
import { zeroSettleCounts } from './core/counts.ts'
import { OUTCOME_KINDS } from './core/outcome.ts'

/**
 * What one consumer did in an invocation. It adds up:
 * `read + claimed = acked + ignored + retried + deadLettered + parked + released + superseded + unsettled`.
 */
export interface ConsumerReport extends Readonly<SettleCounts> {
  readonly stream: string
  readonly group: string
  /** The set that the stream is of; left out where it is of none. */
  readonly set?: string
  /** New entries that reached the poller. */
  readonly read: number
  /**
   * Entries that the run took over, to run or to dead-letter: a claimer of what a dead process left and of what was set aside and is due; of the latter also a poller that listens, or that
   * drains with `rateLimit`, `concurrencyLimit` or `orderedBy`.
   */
  readonly claimed: number
  /** Calls of handlers: deliveries whose event was read and had a route. */
  readonly invoked: number
  /** How many of `invoked` threw, or were still running when their time was up. */
  readonly failed: number
  /** Deliveries that were released because what their handler needs took no work: it threw `UnavailableError`; or since a policy's guard kept them from starting. */
  readonly throttled: number
  /** How many of `parked` had no turn of their rate limit yet. */
  readonly rateLimited: number
  /** How many of `parked` found no place free of their concurrency limit. */
  readonly concurrencyLimited: number
  /** How many of `parked` are of an event type whose circuit breaker is open; failures that found it open are among them. */
  readonly circuitOpen: number
  /** How many of `parked` were set aside since another of their key goes before them; left out where no order is kept. */
  readonly waiting?: number
  /** How many of `invoked` had no key that guards them against duplicates, where `idempotent` allows that. */
  readonly unguarded: number
  /** Handlers that had not settled when the invocation ended: they ignored their `signal`. Stands beside the sum. */
  readonly overran: number
  /** Batches (poller) or pages (claimer) that held at least one entry. */
  readonly batches: number
  /** Requests to the server, each with one or more commands. */
  readonly roundTrips: number
  /** The poller's last read found nothing left; the claimer saw every pending entry once. */
  readonly drained: boolean
  /** Every slot was taken, so nothing was read. No failure. */
  readonly noFreeSlot: boolean
  /** More than `maxPending` entries were pending, so nothing more was read. No failure. */
  readonly pendingLimitReached: boolean
  /** More than `maxParked` entries were set aside, so nothing more was read. No failure. */
  readonly parkedLimitReached: boolean
  /** Somebody paused the group, so that nothing more was read, claimed or started. No failure. */
  readonly paused: boolean
  /** Event types that somebody paused; left out where there are none. */
  readonly pausedTypes?: readonly string[]
  /** Event types whose circuit breaker was open; left out where there are none. */
  readonly openCircuits?: readonly string[]
  /** The group was gone and was made again. */
  readonly groupRecreated: boolean
  /** Delayed events that were due and that it put into the stream. Stands beside the sum. */
  readonly promoted: number
  /** Further pollers that this one called, since it saw a backlog. */
  readonly scaledOut: number
  /** Time was up before the backlog was, and another poller was called to go on. */
  readonly continued: boolean
  /** Milliseconds from taking the slot to giving it back. */
  readonly durationMs: number
  /** How old, in milliseconds, the last entry of a read was when it was read; of several reads the oldest. Left out if nothing was read. */
  readonly iteratorAgeMs?: number
  /** What the group had before it when a claimer's run ended; left out by pollers, and where the server does not report. */
  readonly backlog?: Backlog
}

/** The report of an invocation: the sums over its consumers, and each consumer's own. */
export interface Report
  extends Omit<ConsumerReport, 'stream' | 'group' | 'set' | 'backlog' | 'pausedTypes' | 'openCircuits'> {
  readonly action: 'poll' | 'claim'
  readonly consumers: readonly ConsumerReport[]
}

/** A report while its run goes on. */
export type OpenReport = { -readonly [Member in keyof ConsumerReport]: ConsumerReport[Member] }

/** What comes to a run, and every way in which it goes: the two sides of the sum. */
const COMES = ['read', 'claimed'] as const
const GOES = [
  ...new Set(Object.values(OUTCOME_KINDS).map(({ counter }) => counter)),
  'superseded',
  'unsettled',
] as const satisfies readonly (keyof SettleCounts)[]

/** What is missing from the sum of a report: 0. */
export function reportImbalance(report: Pick<ConsumerReport, (typeof COMES)[number] | (typeof GOES)[number]>): number {
  const sum = (names: readonly (keyof typeof report)[]) => names.reduce((total, name) => total + report[name], 0)
  return sum(COMES) - sum(GOES)
}

/** Numbers that are not added up. */
const LONGEST = ['durationMs', 'iteratorAgeMs']

export function createOpenReport(stream: string, group: string, set?: string): OpenReport {
  return {
    stream,
    group,
    ...(set !== undefined && { set }),
    read: 0,
    claimed: 0,
    ...zeroSettleCounts(),
    invoked: 0,
    failed: 0,
    throttled: 0,
    unguarded: 0,
    rateLimited: 0,
    concurrencyLimited: 0,
    circuitOpen: 0,
    overran: 0,
    batches: 0,
    roundTrips: 0,
    promoted: 0,
    scaledOut: 0,
    drained: false,
    noFreeSlot: false,
    pendingLimitReached: false,
    parkedLimitReached: false,
    paused: false,
    groupRecreated: false,
    continued: false,
    durationMs: 0,
  }
}

/**
 * Sums up: numbers are added (`durationMs` and `iteratorAgeMs` are the longest), `drained` holds if all are, the other flags if any is.
 */
export function sumReports(action: Report['action'], consumers: readonly ConsumerReport[]): Report {
  const { stream: _stream, group: _group, ...sum } = createOpenReport('', '')
  const members = sum as Record<string, unknown>
  for (const report of consumers) {
    for (const [name, value] of Object.entries(report)) {
      if (typeof value === 'boolean') members[name] ||= value
      else if (typeof value === 'number') {
        const before = (members[name] ?? 0) as number
        members[name] = LONGEST.includes(name) ? Math.max(before, value) : before + value
      }
    }
  }
  return { action, ...sum, drained: consumers.every((report) => report.drained), consumers }
}

/** What a group has before it. */
export interface Backlog {
  /** Entries delivered and not acked yet. */
  readonly pending: number
  /** How many of `pending` are set aside: they wait for a time, or for a condition. */
  readonly parked: number
  /** How many of `parked` wait behind another of their key; left out where no order is kept. */
  readonly waiting?: number
  /** Milliseconds since the oldest pending entry was published, 0 if nothing is pending; left out where its id is ahead of the server's clock. */
  readonly oldestPendingMs?: number
  /**
   * Entries not delivered yet. Ten and more are left out where the server does not know: before 7.0, and after deletions, until the group is
   * past them. Before 8.0 they may be too many, once entries were trimmed that nobody had read.
   */
  readonly lag?: number
  /** Milliseconds since a run that acknowledged something ended; left out if none has. */
  readonly sinceLastSuccessMs?: number
  /** Entries in the stream. */
  readonly streamLength: number
  /** Entries in the dead-letter stream. */
  readonly deadLetters: number
  /** How full it is: `deadLetters` in percent of `deadLetters.maxLength`; left out where that is `Infinity`. */
  readonly deadLettersPercent?: number
}
