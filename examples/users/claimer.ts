import { createClaimer } from 'millrace'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { deciding, directory, profiles } from './consumers.ts'
import { redis } from './redis.ts'

export const handler = createClaimer([deciding, directory, ...profiles], {
  redis,
  observe: [reportMetrics(), reportLogs()],
})
