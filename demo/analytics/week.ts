import type { Random } from '../random.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS

/** Something unusual: what is multiplied, from when on a day and for how long. */
export interface Planted {
  readonly atMs: number
  readonly forMs: number
  readonly views?: number
  readonly purchases?: number
  readonly price?: number
}

/** What a minute of the week has. */
export interface MinuteOfWeek {
  readonly at: number
  readonly views: number
  /** Amounts in cents. */
  readonly purchases: readonly number[]
}

/** Five, counted from the first day's midnight: a crowd, an outage, a run on the shop, wrong prices, and a crawler by night. */
export const PLANTED: readonly Planted[] = [
  { atMs: 2 * DAY_MS + 14 * HOUR_MS, forMs: 20 * MINUTE_MS, views: 4 },
  { atMs: 3 * DAY_MS + 11 * HOUR_MS, forMs: 45 * MINUTE_MS, views: 0, purchases: 0 },
  { atMs: 4 * DAY_MS + 19 * HOUR_MS, forMs: 15 * MINUTE_MS, purchases: 7 },
  { atMs: 5 * DAY_MS + 12 * HOUR_MS, forMs: 30 * MINUTE_MS, price: 12 },
  { atMs: 6 * DAY_MS + 3 * HOUR_MS, forMs: 20 * MINUTE_MS, views: 15 },
]

/** Seven days of a shop: nights and evenings, quieter weekends, days that differ, and chance. @param perMinute Views in the busiest minutes. */
export function* weekOf(random: Random, fromMs: number, perMinute: number, planted = PLANTED): Generator<MinuteOfWeek> {
  let ofDay = 1
  for (let ms = 0; ms < 7 * DAY_MS; ms += MINUTE_MS) {
    if (ms % DAY_MS === 0) ofDay = 0.9 + random.integer(0, 200) / 1_000
    const day = new Date(fromMs + ms)
    const ofWeek = day.getUTCDay() % 6 === 0 ? 0.75 : 1
    const ofHour = 0.55 - 0.45 * Math.cos((2 * Math.PI * ((ms % DAY_MS) - 4 * HOUR_MS)) / DAY_MS)
    const now = planted.find(({ atMs, forMs }) => ms >= atMs && ms < atMs + forMs)
    const rate = perMinute * ofDay * ofWeek * ofHour
    yield {
      at: fromMs + ms,
      views: poisson(random, rate * (now?.views ?? 1)),
      purchases: Array.from({ length: poisson(random, 0.12 * rate * (now?.purchases ?? 1)) }, () =>
        Math.round(random.integer(500, 15_000) * (now?.price ?? 1)),
      ),
    }
  }
}

/** How often what happens at that rate does: Knuth's, in steps that a double can hold. */
function poisson(random: Random, rate: number): number {
  let [count, left] = [-1, rate]
  for (let product = 1; product > 0; count++) {
    product *= (random.integer(0, 2 ** 30) + 1) / (2 ** 30 + 1)
    while (product < 1 && left > 0) {
      const step = Math.min(left, 50)
      product *= Math.exp(step)
      left -= step
    }
    if (product <= 1 && left <= 0) return count + 1
  }
  return count
}
