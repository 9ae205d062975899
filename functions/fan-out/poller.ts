import { createPoller, listening } from 'millrace'
import { invokeSelf } from 'millrace/lambda'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { redis } from '../shared/redis.ts'
import { groups } from './consumers.ts'

/** Wakes on a schedule: has each group handle what is new to it. */
export const handler = createPoller(groups, {
  redis,
  listen: listening(),
  scaleOut: invokeSelf(),
  observe: [reportMetrics(), reportLogs()],
})
