import type { Random } from '../random.ts'
import type { Sample } from './offline.ts'

type Shape = (random: Random) => number

const MILLION = 1_000_000
const unit = (random: Random) => random.integer(1, MILLION) / MILLION

/** What is measured, and how it spreads: a long tail, both sides of zero, many zeros, and what is large. */
const METRICS: Readonly<Record<string, Shape>> = {
  latency: (random) =>
    20 * Math.exp(1.2 * Math.sqrt(-2 * Math.log(unit(random))) * Math.cos(2 * Math.PI * unit(random))),
  celsius: (random) => 4 - 12 * unit(random),
  errors: (random) => (random.integer(0, 4) > 0 ? 0 : random.integer(1, 9)),
  bytes: (random) => random.integer(1, 2_000_000_000) * 40,
}

const SOURCES = ['web-1', 'web-2', 'db-1:5432']

/** A series for each source and metric. */
export const SERIES_COUNT = SOURCES.length * Object.keys(METRICS).length

/** One sample of each series, somewhere in the `withinMs` before `now`. */
export function measure(random: Random, now: number, withinMs: number): Sample[] {
  return SOURCES.flatMap((source) =>
    Object.entries(METRICS).map(([metric, shape]) => ({
      source,
      metric,
      value: decimal(shape(random)),
      at: now - random.integer(0, withinMs),
    })),
  )
}

/** At most 15 digits, 6 of them after the point. */
function decimal(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(6)
}
