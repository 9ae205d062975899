import { createPoller } from 'millrace'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { sales } from './consumer.ts'
import { redis } from './redis.ts'

/** Wakes on a schedule: counts what is new. */
export const handler = createPoller(sales, { redis, observe: [reportMetrics(), reportLogs()] })
