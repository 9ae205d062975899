import type { Entry } from '../../core/entry.ts'
import type { Analysis, LagAnalysis, NoEventAnalysis, SizeAnalysis } from './analysis.ts'
import type { EntryReader, ReadEntry } from './entry-reader.ts'
import { FieldCounter } from './field-counter.ts'
import { FrequencyTable, type ResultScale } from './frequency-table.ts'
import { HoursOfDay } from './hours-of-day.ts'
import { LogHistogram } from './log-histogram.ts'
import { MinuteRates } from './minute-rates.ts'
import { occurredAtMs } from './occurred-at-ms.ts'
import type { WeightedEntries } from './read-range.ts'
import { Timeline } from './timeline.ts'

/** Characters of such a reason. */
const REASON_LENGTH = 200
/** Kinds of what is no event that are counted by themselves: a codec of the user's own may say anything. */
const MOST_REASONS = 20

/** What an analysis says of entries. */
export type TalliedEntries = Pick<
  Analysis,
  | 'types'
  | 'noEvents'
  | 'producers'
  | 'by'
  | 'payloadBytes'
  | 'entryBytes'
  | 'hours'
  | 'perMinute'
  | 'timeline'
  | 'firstId'
  | 'lastId'
>

interface TallyOptions {
  readonly read: EntryReader
  readonly by?: string | undefined
  readonly timeZone: string
  /** The time that the last entry can have, for the timeline. */
  readonly lastMs: number
  /** Whether all entries are added: what a sample leaves out has no rates. */
  readonly hasRates: boolean
}

/** What is collected for a type. */
class TypeLag {
  readonly lag = new LogHistogram()
  ahead = 0
}

/** Counts entries in memory that does not grow with them. */
export class EntryTally {
  /** Entries that were added. */
  read = 0
  /** Of all that was added. */
  weight = 0
  readonly #options: TallyOptions
  readonly #types = new FrequencyTable(() => new TypeLag())
  readonly #producers = new FrequencyTable(() => undefined)
  readonly #by: FieldCounter | undefined
  readonly #problems = new Map<string, number>()
  readonly #payloadBytes = new LogHistogram()
  readonly #entryBytes = new LogHistogram()
  readonly #hours: HoursOfDay
  readonly #rates = new MinuteRates()
  #timeline: Timeline | undefined
  #firstId: string | undefined
  #lastId: string | undefined

  constructor(options: TallyOptions) {
    this.#options = options
    this.#by = options.by === undefined ? undefined : new FieldCounter(options.by)
    this.#hours = new HoursOfDay(options.timeZone)
  }

  /** Adds entries that come after all that were added before. */
  add({ entries, weight }: WeightedEntries): void {
    for (const entry of entries) this.#add(entry, weight)
    this.#firstId ??= entries[0]?.id
    this.#lastId = entries.at(-1)?.id ?? this.#lastId
    this.read += entries.length
    this.weight += entries.length * weight
  }

  /** @param scale What a weight stands for. */
  result(top: number, scale: ResultScale): TalliedEntries {
    const { count } = scale
    const { counts, undated } = this.#hours
    const perMinute = this.#rates.end()
    const timeline = this.#timeline?.result()
    return {
      ...(this.#firstId !== undefined && { firstId: this.#firstId }),
      ...(this.#lastId !== undefined && { lastId: this.#lastId }),
      types: this.#types.result(top, scale, (data) => lagRow(data, scale)),
      noEvents: this.#noEvents(scale),
      producers: this.#producers.result(top, scale),
      ...(this.#by && { by: this.#by.result(top, scale) }),
      payloadBytes: sizesOf(this.#payloadBytes, scale),
      entryBytes: sizesOf(this.#entryBytes, scale),
      hours: { timeZone: this.#options.timeZone, counts: counts.map(count), undated: count(undated) },
      ...(perMinute && { perMinute }),
      ...(timeline && { timeline: { ...timeline, counts: timeline.counts.map(count) } }),
    }
  }

  #add(entry: Entry, weight: number): void {
    const read = this.#options.read(entry)
    const ms = Number.parseInt(entry.id, 10)
    if (read.problem === undefined) this.#addEvent(read, ms, weight)
    else this.#addProblem(read.problem, weight)
    this.#by?.add(entry, read, weight)
    this.#entryBytes.add(read.entryBytes, weight)
    this.#hours.add(ms, weight)
    if (this.#options.hasRates) this.#rates.add(ms)
    this.#timeline ??= new Timeline(ms, Math.max(ms, this.#options.lastMs))
    this.#timeline.add(ms, weight)
  }

  #addEvent({ type = '', producer, occurredAt, payloadBytes }: ReadEntry, ms: number, weight: number): void {
    this.#payloadBytes.add(payloadBytes, weight)
    const counted = this.#types.add(type, weight)
    if (producer !== undefined) this.#producers.add(producer, weight)
    const lagMs = occurredAt === undefined ? undefined : ms - occurredAtMs(occurredAt)
    if (lagMs === undefined || Number.isNaN(lagMs)) return
    if (lagMs < 0) counted.ahead += weight
    counted.lag.add(lagMs, weight)
  }

  #addProblem(problem: string, weight: number): void {
    const short = problem.slice(0, REASON_LENGTH)
    const isKnown = this.#problems.has(short) || this.#problems.size < MOST_REASONS
    const reason = isKnown ? short : 'other reasons'
    this.#problems.set(reason, (this.#problems.get(reason) ?? 0) + weight)
  }

  #noEvents({ count }: ResultScale): NoEventAnalysis {
    const reasons = [...this.#problems].map(([reason, weight]) => [reason, count(weight)] as const)
    return { count: reasons.reduce((sum, [, n]) => sum + n, 0), reasons: Object.fromEntries(reasons) }
  }
}

function lagRow({ lag, ahead }: TypeLag, { count }: ResultScale): { lag?: LagAnalysis } {
  if (lag.total === 0) return {}
  const [p50Ms, p99Ms] = [lag.quantile(0.5), lag.quantile(0.99)]
  return { lag: { measured: count(lag.total), ahead: count(ahead), p50Ms, p99Ms, maxMs: lag.max } }
}

function sizesOf(sizes: LogHistogram, { count }: ResultScale): SizeAnalysis {
  const [p50, p99] = [sizes.quantile(0.5), sizes.quantile(0.99)]
  return { measured: count(sizes.total), mean: sizes.mean, p50, p99, max: sizes.max }
}
