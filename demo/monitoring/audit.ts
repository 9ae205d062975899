import type { Bucket, Level } from '../../examples/monitoring/rollups.ts'
import { LEVELS, summarize } from '../../examples/monitoring/rollups.ts'
import type { Equation } from '../equation.ts'
import { computeOffline, intoBuckets, isSame, quantileError, type Sample } from './offline.ts'

/** Reads the buckets of a series. */
type Read = (series: string, from: number, to: number) => Promise<readonly Bucket[]>

interface LevelAudit {
  /** Samples that the buckets hold. */
  readonly counted: number
  readonly equations: readonly Equation[]
}

/** Compares every bucket of a level, and each series as a whole, with what is computed offline. Samples that are too old for the level are left out. */
export async function auditLevel(samples: readonly Sample[], level: Level, read: Read): Promise<LevelAudit> {
  const { bucketMs, retentionMs } = LEVELS[level]
  const kept = samples.filter(({ at }) => at + retentionMs > Date.now())
  let [counted, buckets, same, close, offline, worstError] = [0, 0, 0, 0, 0, 0]
  for (const [series, all] of Map.groupBy(kept, ({ source, metric }) => `${source} ${metric}`)) {
    const times = all.map(({ at }) => at)
    const found = await read(series, Math.min(...times), Math.max(...times) + 1)
    const right = intoBuckets(all, bucketMs)
    buckets += found.length
    offline += right.size
    counted += summarize(found)?.count ?? 0
    const pairs = [...right].map(([at, own]) => [own, found.filter((bucket) => bucket.at === at)] as const)
    for (const [own, mine] of [...pairs, [all, found] as const]) {
      const [exact, summary] = [computeOffline(own), summarize(mine)]
      const error = quantileError(exact, summary)
      worstError = Math.max(worstError, error)
      if (isSame(exact, summary)) same++
      if (error <= 0.01) close++
    }
  }
  const checked = offline + new Set(kept.map(({ source, metric }) => `${source} ${metric}`)).size
  return {
    counted,
    equations: [
      { left: [[`buckets of ${level}`, buckets]], right: [['offline', offline]] },
      { left: [[`${level}, count, sum, min and max exact`, same]], right: [['of', checked]] },
      {
        left: [[`${level}, p50 and p99 within 1 %, worst ${(100 * worstError).toFixed(2)} %:`, close]],
        right: [['of', checked]],
      },
    ],
  }
}
