import { createJanitor } from 'millrace/janitor'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { work } from './consumer.ts'
import { redis } from './redis.ts'

const DAY_MS = 86_400_000

/** Who answers for jobs that failed, and how long these are kept. */
export const owner = process.env.JOBS_OWNER || 'team-jobs'

const groups = { work: { owner, deadLetters: { owner, retentionMs: 14 * DAY_MS } } }

/** Wakes on a schedule: trims jobs that are done, and dead letters that nobody wanted. */
export const handler = createJanitor(
  [work].flat().map(({ stream }) => ({ stream, groups })),
  { redis, observe: [reportMetrics(), reportLogs()] },
)
