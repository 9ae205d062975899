import type { MinuteRateAnalysis } from './analysis.ts'
import { LogHistogram } from './log-histogram.ts'

const MINUTE_MS = 60_000

/** Counts entries per minute of the clock, minutes without any included. Entries must come in the order of their ids. */
export class MinuteRates {
  readonly #rates = new LogHistogram()
  #first: number | undefined
  #minute = 0
  #count = 0
  #peakMinute = 0

  add(ms: number): void {
    const minute = Math.floor(ms / MINUTE_MS)
    if (this.#first === undefined) this.#first = this.#minute = minute
    if (minute > this.#minute) {
      this.#endMinute()
      this.#rates.add(0, minute - this.#minute - 1)
      this.#minute = minute
      this.#count = 0
    }
    this.#count++
  }

  /** The rates up to now; nothing where nothing was counted. Ends the last minute: nothing may be added after that. */
  end(): MinuteRateAnalysis | undefined {
    if (this.#first === undefined) return undefined
    this.#endMinute()
    return {
      minutes: this.#minute - this.#first + 1,
      mean: this.#rates.mean,
      p50: this.#rates.quantile(0.5),
      p99: this.#rates.quantile(0.99),
      max: this.#rates.max,
      maxAt: this.#peakMinute * MINUTE_MS,
    }
  }

  #endMinute(): void {
    if (this.#count > this.#rates.max) this.#peakMinute = this.#minute
    this.#rates.add(this.#count)
  }
}
