import type { Report } from 'millrace'
import type { Kind } from './generator.ts'

/** The counts of a report that are summed up here. */
export const COUNTS = [
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
] as const satisfies readonly (keyof Report)[]

export type Counts = Record<(typeof COUNTS)[number], number>

/** What one function did in all its invocations. */
export class FunctionTally {
  readonly counts = noCounts()
  invocations = 0
  readonly failures: Error[] = []
  /** Reports that do not add up by themselves. */
  uneven = 0

  /** Takes what an invocation resolved to, or rejected with: such an error carries its report, too. */
  add(result: Report | Error): void {
    this.invocations++
    if (result instanceof Error) this.failures.push(result)
    const report = result instanceof Error ? (result as { report?: Report }).report : result
    if (!report) return
    for (const name of COUNTS) this.counts[name] += report[name]
    if (incoming(report) !== outgoing(report)) this.uneven++
  }
}

/** What was published and what both functions did with it. */
export class Tally {
  readonly published = new Map<Kind, number>()
  readonly poller = new FunctionTally()
  readonly claimer = new FunctionTally()

  addPublished(kind: Kind): void {
    this.published.set(kind, (this.published.get(kind) ?? 0) + 1)
  }

  /** How many were published, of all kinds or of those with a fate. */
  publishedCount(fate?: Kind['fate']): number {
    let sum = 0
    for (const [kind, count] of this.published) if (fate === undefined || kind.fate === fate) sum += count
    return sum
  }

  get failures(): readonly Error[] {
    return [...this.poller.failures, ...this.claimer.failures]
  }

  /** Both functions together. */
  get counts(): Counts {
    const sum = noCounts()
    for (const name of COUNTS) sum[name] = this.poller.counts[name] + this.claimer.counts[name]
    return sum
  }
}

/** What a report says it was given, and what became of it: the same number. */
const incoming = (c: Counts) => c.read + c.claimed
const outgoing = (c: Counts) => c.acked + c.retried + c.deadLettered + c.released + c.superseded + c.unsettled

function noCounts(): Counts {
  return Object.fromEntries(COUNTS.map((name) => [name, 0])) as Counts
}
