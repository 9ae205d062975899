import { createPoller, listening } from 'millrace'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { work } from './consumer.ts'
import { redis } from './redis.ts'

const observe = [reportMetrics(), reportLogs()]
/** Listens, so that a job starts when it is submitted. */
export const handler = createPoller(work, { redis, mode: 'listen', listen: listening(), observe })
