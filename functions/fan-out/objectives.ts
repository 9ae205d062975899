import type { StreamInspection } from 'millrace/operate'

/** How far behind a group may be. */
export interface Objective {
  /** Milliseconds since the oldest entry that it has not done was published. */
  readonly maxAgeMs: number
  /** Entries that wait for their first delivery. */
  readonly maxLag: number
}

/** What each group promises. Its alarms in serverless.yml and infra/cdk.ts have the same numbers. */
export const OBJECTIVES = {
  billing: { maxAgeMs: 300_000, maxLag: 5_000 },
  search: { maxAgeMs: 60_000, maxLag: 1_000 },
  cache: { maxAgeMs: 60_000, maxLag: 1_000 },
  warehouse: { maxAgeMs: 600_000, maxLag: 50_000 },
  bridge: { maxAgeMs: 120_000, maxLag: 5_000 },
  audit: { maxAgeMs: 900_000, maxLag: 50_000 },
} as const satisfies Readonly<Record<string, Objective>>

export type Group = keyof typeof OBJECTIVES

/** How far behind a group is, and whether that is within its objective. */
export interface Progress extends Objective {
  readonly group: string
  readonly ageMs: number
  readonly lag: number
  readonly isMet: boolean
}

/** Compares each group of the stream with its objective. To a group that was never made the whole stream is ahead. */
export function progressOf(stream: StreamInspection | undefined): Progress[] {
  return Object.entries(OBJECTIVES).map(([group, objective]) => {
    const found = stream?.groups.find((one) => one.group === group)
    const ages = found ? [found.oldestPending?.ageMs, found.undeliveredAgeMs] : [stream?.firstAgeMs]
    const ageMs = Math.max(...ages.map((age = 0) => age))
    const lag = (found ? (found.lag ?? found.lagAtLeast) : stream?.length) ?? 0
    return { group, ageMs, lag, ...objective, isMet: ageMs <= objective.maxAgeMs && lag <= objective.maxLag }
  })
}
