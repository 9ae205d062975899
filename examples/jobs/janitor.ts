import { createJanitor } from 'millrace/janitor'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { work } from './consumer.ts'
import { redis } from './redis.ts'

/** Who answers for jobs that failed, and for how long these are kept: two weeks. */
const owner = process.env.JOBS_OWNER || 'team-jobs'
const groups = { work: { owner, deadLetters: { owner, retentionMs: 1_209_600_000 } } }

/** Wakes on a schedule: trims jobs that have ended, and dead letters that nobody wanted. */
const streams = work.map(({ stream }) => ({ stream, groups }))
export const handler = createJanitor(streams, { redis, observe: [reportMetrics(), reportLogs()] })
