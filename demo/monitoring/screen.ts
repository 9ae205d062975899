import type { Redis } from 'ioredis'
import { type Bucket, readBuckets, summarize } from '../../examples/monitoring/rollups.ts'
import { paint } from '../paint.ts'
import { computeOffline, type Sample } from './offline.ts'

const BARS = '▁▂▃▄▅▆▇█'
const SECONDS_SHOWN = 30

/** A line for each series: p99 of the last seconds as bars, and what the minute buckets say beside the exact figures. */
export async function linesOf(client: Redis, samples: readonly Sample[]): Promise<string[]> {
  const now = Date.now()
  const head = `${'series'.padEnd(18)} ${'p99 by second'.padEnd(SECONDS_SHOWN)} ${['count', 'p50', 'exact', 'p99', 'exact'].map(cell).join('')}`
  const rows = [...Map.groupBy(samples, ({ source, metric }) => `${source} ${metric}`)].map(async ([series, all]) => {
    const [seconds, minutes] = await Promise.all([
      readBuckets(client, series, '1s', now - SECONDS_SHOWN * 1_000, now),
      readBuckets(client, series, '1m', now - 25 * 60_000, now),
    ])
    const [summary, exact] = [summarize(minutes), computeOffline(all)]
    const cells = [summary?.count, summary?.p50, exact.p50, summary?.p99, exact.p99]
    return `${series.padEnd(18)} ${paint('cyan', sparkline(seconds, now))} ${cells.map((value) => cell(figure(value))).join('')}`
  })
  return [paint('bold', head), ...(await Promise.all(rows))]
}

function sparkline(buckets: readonly Bucket[], now: number): string {
  const p99s = new Map(buckets.map((bucket) => [bucket.at, summarize([bucket])?.p99 ?? 0]))
  const [least, most] = [Math.min(...p99s.values()), Math.max(...p99s.values())]
  const start = now - (now % 1_000) - (SECONDS_SHOWN - 1) * 1_000
  return Array.from({ length: SECONDS_SHOWN }, (_, n) => {
    const p99 = p99s.get(start + n * 1_000)
    return p99 === undefined ? ' ' : BARS[Math.round(((p99 - least) / (most - least || 1)) * (BARS.length - 1))]
  }).join('')
}

function figure(value: number | undefined): string {
  if (value === undefined) return '-'
  return Number.isInteger(value) || Math.abs(value) >= 1_000_000 ? value.toFixed(0) : value.toFixed(2)
}

function cell(text: string): string {
  return text.padStart(13)
}
