import { DDSketch } from '@datadog/sketches-js'
import type { Redis } from 'ioredis'
import type { Effects } from 'millrace'

const MINUTE = 60_000
const DAY = 1_440 * MINUTE

/** How long a bucket is, and for how long it is kept after its end. Every sample goes to all three at once: nothing is computed from a finer level later, so nothing is counted twice or missed. */
export const LEVELS = {
  '1s': { bucketMs: 1_000, retentionMs: 15 * MINUTE },
  '1m': { bucketMs: MINUTE, retentionMs: DAY },
  '1h': { bucketMs: 60 * MINUTE, retentionMs: 90 * DAY },
} as const
export type Level = keyof typeof LEVELS
/** For as long as the longest retention without a sample a series is remembered. */
export const FORGET_SERIES_MS = LEVELS['1h'].retentionMs

/** Below the promised 1 %, so that rounding at the edge of a bin cannot break it. */
const RELATIVE_ACCURACY = 0.009
const { mapping } = new DDSketch({ relativeAccuracy: RELATIVE_ACCURACY })

/** A bucket is a hash, with the sum and the sketch's bins, and a sorted set with the extremes. */
const keysOf = (level: Level, start: number, series: string) => ({
  sums: `{samples}:sums:${level}:${start}:${series}`,
  ends: `{samples}:ends:${level}:${start}:${series}`,
})

export const startOf = (level: Level, at: number) => at - (at % LEVELS[level].bucketMs)

/** Adds a sample to its bucket of every level that still keeps it: integers that are added, and extremes that only widen, so that no order matters. */
export function addToRollups(effects: Effects, series: string, { value, at }: { value: string; at: number }): void {
  const number = Number(value)
  const [units, micros] = splitDecimal(value)
  for (const level of Object.keys(LEVELS) as Level[]) {
    const start = startOf(level, at)
    const ttlMs = start + LEVELS[level].bucketMs + LEVELS[level].retentionMs - Date.now()
    if (ttlMs <= 0) continue
    const { sums, ends } = keysOf(level, start, series)
    effects.incrementField(sums, binOf(number))
    if (units !== 0) effects.incrementField(sums, 'units', units)
    if (micros !== 0) effects.incrementField(sums, 'micros', micros)
    effects.addToSortedSet(ends, 'min', number, { if: 'less' }).addToSortedSet(ends, 'max', number, { if: 'greater' })
    effects.expire(sums, ttlMs).expire(ends, ttlMs)
  }
}

/** `-1.5` is -1 unit and -500,000 millionths: each is a sum of its own, far below 64 bits. */
function splitDecimal(value: string): [units: number, micros: number] {
  const [whole = '', fraction = ''] = value.replace('-', '').split('.')
  const sign = value.startsWith('-') ? -1 : 1
  return [sign * Number(whole), sign * Number(fraction.padEnd(6, '0'))]
}

/** The sketch's bin of a value: `p` and its index, `n` and that of what is below zero, or `0`. */
function binOf(value: number): string {
  return value === 0 ? '0' : `${value > 0 ? 'p' : 'n'}${mapping.key(Math.abs(value))}`
}

/** One or more buckets in one. The sum is exact, as decimal text; quantiles are within 1 % of the sample at that rank. */
export interface Summary {
  readonly count: number
  readonly sum: string
  readonly min: number
  readonly max: number
  readonly p50: number
  readonly p99: number
}

/** What the server holds of a bucket. */
export interface Bucket {
  readonly at: number
  readonly sums: Readonly<Record<string, string>>
  readonly ends: readonly number[]
}

/** Buckets of a series from one time up to, not including, another; those without a sample are left out. */
export async function readBuckets(client: Redis, series: string, level: Level, from: number, to: number) {
  const starts: number[] = []
  for (let start = startOf(level, from); start < to; start += LEVELS[level].bucketMs) starts.push(start)
  const buckets = await Promise.all(
    starts.map(async (at): Promise<Bucket> => {
      const { sums, ends } = keysOf(level, at, series)
      const [hash, scores] = await Promise.all([client.hgetall(sums), client.zmscore(ends, 'min', 'max')])
      return { at, sums: hash, ends: scores.filter((score) => score !== null).map(Number) }
    }),
  )
  // a bucket that ends between both answers is none any more; one that grows may show the extremes of a sample that it does not count yet
  return buckets.filter(({ sums, ends }) => ends.length > 0 && Object.keys(sums).length > 0)
}

/** `undefined` if there is nothing in them. */
export function summarize(buckets: readonly Bucket[]): Summary | undefined {
  if (buckets.length === 0) return undefined
  const sketch = new DDSketch({ relativeAccuracy: RELATIVE_ACCURACY })
  let sum = 0n
  for (const [field, text] of buckets.flatMap(({ sums }) => Object.entries(sums))) {
    if (field === 'units') sum += BigInt(text) * 1_000_000n
    else if (field === 'micros') sum += BigInt(text)
    else addBin(sketch, field, Number(text))
  }
  const ends = buckets.flatMap((bucket) => bucket.ends)
  const [min, max] = [Math.min(...ends), Math.max(...ends)]
  const quantile = (q: number) => Math.min(max, Math.max(min, sketch.getValueAtQuantile(q)))
  return { count: sketch.count, sum: decimalText(sum), min, max, p50: quantile(0.5), p99: quantile(0.99) }
}

function addBin(sketch: DDSketch, field: string, count: number): void {
  if (field === '0') sketch.zeroCount += count
  else (field.startsWith('p') ? sketch.store : sketch.negativeStore).add(Number(field.slice(1)), count)
  sketch.count += count
}

function decimalText(micros: bigint): string {
  const digits = `${micros < 0n ? -micros : micros}`.padStart(7, '0')
  return `${micros < 0n ? '-' : ''}${digits.slice(0, -6)}.${digits.slice(-6)}`
}
