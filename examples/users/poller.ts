import { createPoller, listening } from 'millrace'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { all } from './consumers.ts'
import { redis } from './redis.ts'

/** Listens, since somebody waits for the outcome of a command. */
export const handler = createPoller(all, {
  redis,
  mode: 'listen',
  listen: listening(),
  observe: [reportMetrics(), reportLogs()],
})
