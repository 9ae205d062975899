import { createPoller, listening } from 'millrace'
import { invokeSelf } from 'millrace/lambda'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { redis } from '../shared/redis.ts'
import { services } from './consumers.ts'

/** Wakes on a schedule: has each service handle what is new, and brings timeouts in. */
export const handler = createPoller(services, {
  redis,
  listen: listening(),
  scaleOut: invokeSelf(),
  observe: [reportMetrics(), reportLogs()],
})
