import { createPoller } from 'millrace'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { redis } from '../shared/redis.ts'
import { dashboard } from './consumer.ts'

/** Wakes on a schedule: counts what users did. */
export const handler = createPoller(dashboard, { redis, observe: [reportMetrics(), reportLogs()] })
