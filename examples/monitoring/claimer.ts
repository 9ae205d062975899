import { createClaimer } from 'millrace'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { rollup } from './consumer.ts'
import { redis } from './redis.ts'

/** Wakes on a schedule: takes over what a dead process left behind, retries what failed. */
export const handler = createClaimer(rollup, { redis, observe: [reportMetrics(), reportLogs()] })
