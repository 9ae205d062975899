import { createPoller } from 'millrace'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { transfers } from './consumer.ts'
import { redis } from './redis.ts'

/** Wakes on a schedule: brings what was sent to where it goes. */
export const handler = createPoller(transfers, { redis, observe: [reportMetrics(), reportLogs()] })
