import { createClaimer } from 'millrace'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { transfers } from './consumer.ts'
import { redis } from './redis.ts'

/** Wakes on a schedule: takes over what a dead process left behind, retries what failed. */
export const handler = createClaimer(transfers, { redis, observe: [reportMetrics(), reportLogs()] })
