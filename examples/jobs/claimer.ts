import { createClaimer } from 'millrace'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { work } from './consumer.ts'
import { redis } from './redis.ts'

/** Wakes on a schedule: takes over what a dead process left behind, retries what failed. */
export const handler = createClaimer(work, { redis, observe: [reportMetrics(), reportLogs()] })
