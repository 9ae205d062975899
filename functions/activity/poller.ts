import { createPoller } from 'millrace'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { redis } from '../shared/redis.ts'
import { analytics, fulfilment, monitoring } from './consumers.ts'

/** Wakes on a schedule: handles what is new in the three streams. */
export const handler = createPoller([analytics, fulfilment, monitoring], {
  redis,
  observe: [reportMetrics(), reportLogs()],
})
