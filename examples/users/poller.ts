import { createPoller } from 'millrace'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { deciding, directory, profiles } from './consumers.ts'
import { redis } from './redis.ts'

/** Listens, since somebody waits for the outcome of a command. */
export const handler = createPoller([deciding, directory, ...profiles], {
  redis,
  mode: 'listen',
  observe: [reportMetrics(), reportLogs()],
})
