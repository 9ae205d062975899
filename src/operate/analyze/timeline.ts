import type { TimelineAnalysis } from './analysis.ts'

const MINUTE_MS = 60_000
/** Steps at most: a screen or a page shows no more. */
const MOST_STEPS = 240
/** In minutes: up to four weeks. What is longer takes a multiple of the last. */
const WIDTHS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440, 2_880, 10_080, 20_160, 40_320]

/** Counts entries over a span of time, in steps of equal and round length. */
export class Timeline {
  readonly #startMs: number
  readonly #widthMs: number
  readonly #counts: number[]

  constructor(firstMs: number, lastMs: number) {
    this.#widthMs = widthOf(lastMs - firstMs)
    this.#startMs = Math.floor(firstMs / this.#widthMs) * this.#widthMs
    this.#counts = Array.from({ length: this.#stepOf(lastMs) + 1 }, () => 0)
  }

  add(ms: number, weight = 1): void {
    const step = Math.min(Math.max(0, this.#stepOf(ms)), this.#counts.length - 1)
    this.#counts[step] = (this.#counts[step] as number) + weight
  }

  result(): TimelineAnalysis {
    return { startMs: this.#startMs, stepMs: this.#widthMs, counts: this.#counts }
  }

  #stepOf(ms: number): number {
    return Math.floor((ms - this.#startMs) / this.#widthMs)
  }
}

function widthOf(spanMs: number): number {
  // one step more than the span has, since it begins before the first entry
  const most = MOST_STEPS - 1
  const width = WIDTHS.find((minutes) => spanMs <= minutes * MINUTE_MS * most)
  const longest = 40_320 * MINUTE_MS
  return width === undefined ? Math.ceil(spanMs / most / longest) * longest : width * MINUTE_MS
}
