import { createPoller } from 'millrace'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { redis } from '../redis.ts'
import { billing } from './consumer.ts'

/** Wakes on a schedule: handles what is new. */
export const handler = createPoller(billing, { redis }).use(reportMetrics()).use(reportLogs())
