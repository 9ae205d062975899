import { createClaimer } from 'millrace'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { redis } from '../redis.ts'
import { billing } from './consumer.ts'

/** Wakes on a schedule: retries what failed, takes over what a dead process left behind, sets aside what cannot succeed. */
export const handler = createClaimer(billing, { redis, observe: [reportMetrics(), reportLogs()] })
