import { createClaimer } from 'millrace'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { redis } from '../shared/redis.ts'
import { dashboard } from './consumer.ts'

/** Wakes on a schedule: counts what a dead process left behind, and sets aside what cannot be counted. */
export const handler = createClaimer(dashboard, { redis, observe: [reportMetrics(), reportLogs()] })
