import { createPoller } from 'millrace'
import { invokeSelf } from 'millrace/lambda'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { redis } from '../shared/redis.ts'
import { billing } from './consumer.ts'

/** Wakes on a schedule: handles what is new. */
export const handler = createPoller(billing, {
  redis,
  scaleOut: invokeSelf(),
  observe: [reportMetrics(), reportLogs()],
})
