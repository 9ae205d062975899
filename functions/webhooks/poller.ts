import { createPoller, listening } from 'millrace'
import { invokeSelf } from 'millrace/lambda'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { redis } from '../shared/redis.ts'
import { delivery } from './consumer.ts'

/** Wakes on a schedule, and listens: sends what is new. */
export const handler = createPoller(delivery, {
  redis,
  listen: listening(),
  scaleOut: invokeSelf(),
  observe: [reportMetrics(), reportLogs()],
})
