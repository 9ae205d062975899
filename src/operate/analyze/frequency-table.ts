import type { Bytes } from '../../core/entry.ts'
import type { FrequencyAnalysis, FrequencyRow } from './analysis.ts'
import { SpaceSaving } from './space-saving.ts'
import { keyOfValue, valueOfKey } from './value-key.ts'

/** Values that are counted one by one; of more, no count is off by more than a thousandth of all. */
const CAPACITY = 1_000

/** Turns weights into what a result says. */
export interface ResultScale {
  /** What shares are of. */
  readonly total: number
  readonly count: (weight: number) => number
}

/** Counts values in bounded memory, however long they are and however many. */
export class FrequencyTable<Data> {
  readonly #counts: SpaceSaving<Data>

  /** @param makeData What is collected for a value beside its count. */
  constructor(makeData: () => Data) {
    this.#counts = new SpaceSaving(CAPACITY, makeData)
  }

  /** Counts a value, and gives what is collected for it. */
  add(value: Bytes, weight = 1): Data {
    return this.#counts.add(keyOfValue(value), weight)
  }

  result(top: number, scale: ResultScale): FrequencyAnalysis
  result<Row>(top: number, scale: ResultScale, extra: (data: Data) => Row): FrequencyAnalysis<FrequencyRow & Row>
  result<Row>(top: number, { total, count }: ResultScale, extra?: (data: Data) => Row): FrequencyAnalysis {
    const { isFull, size } = this.#counts
    // where values take each other's places, a count that is mostly error says nothing
    const shown = this.#counts.counters().filter((counter) => counter.count - counter.error >= counter.error)
    const best = shown.slice(0, top)
    const sum = best.reduce((all, counter) => all + counter.count, 0)
    const error = best.reduce((all, counter) => all + counter.error, 0)
    return {
      rows: best.map((counter) => ({
        ...valueOfKey(counter.key),
        count: count(counter.count),
        error: count(counter.error),
        share: shareOf(counter.count, total),
        ...extra?.(counter.data),
      })),
      others: { count: count(Math.max(0, this.#counts.total - sum)), error: count(error) },
      ...(!isFull && { distinct: size }),
    }
  }
}

/** From 0 to 1, to a millionth: what is beyond is not known of a sample, and noise of arithmetic. */
function shareOf(count: number, total: number): number {
  return total > 0 ? Math.round((1e6 * count) / total) / 1e6 : 0
}
