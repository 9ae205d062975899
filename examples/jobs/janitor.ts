import { createJanitor } from 'millrace/janitor'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { work } from './consumer.ts'
import { redis } from './redis.ts'

const owner = process.env.JOBS_OWNER || 'team-jobs'
/** Who answers for jobs that failed, and for how long these are kept: two weeks. */
const groups = { work: { owner, deadLetters: { owner, retentionMs: 1_209_600_000 } } }
const streams = work.map(({ stream }) => ({ stream, groups }))

/** Wakes on a schedule: trims jobs that have ended, and dead letters that nobody wanted. */
export const handler = createJanitor(streams, { redis, observe: [reportMetrics(), reportLogs()] })
