const HOUR_MS = 3_600_000
const MINUTE_MS = 60_000
const HOURS = 24
/** As far as dates go, in milliseconds. */
const LAST_MS = 8.64e15

/** Counts by the hour that a clock on the wall shows, in a time zone, with its changes to summer time and back. */
export class HoursOfDay {
  readonly counts: number[] = Array.from({ length: HOURS }, () => 0)
  /** What has no date: entry ids may hold any number. */
  undated = 0
  readonly #hourOf: (ms: number) => number
  #minute = Number.NaN
  #hour = 0

  /** @throws {RangeError} No such time zone. */
  constructor(timeZone: string) {
    this.#hourOf = hourReader(timeZone)
  }

  add(ms: number, weight = 1): void {
    if (ms > LAST_MS) {
      this.undated += weight
      return
    }
    const minute = Math.floor(ms / MINUTE_MS)
    // entries come in order, and no zone has changed its hour within a minute since 1972
    if (minute !== this.#minute) {
      this.#minute = minute
      this.#hour = this.#hourOf(ms)
    }
    this.counts[this.#hour] = (this.counts[this.#hour] as number) + weight
  }
}

function hourReader(timeZone: string): (ms: number) => number {
  const format = new Intl.DateTimeFormat('en-US', { timeZone, hour: '2-digit', hourCycle: 'h23' })
  if (format.resolvedOptions().timeZone === 'UTC') return (ms) => Math.floor(ms / HOUR_MS) % HOURS
  return (ms) => Number(format.format(ms))
}
