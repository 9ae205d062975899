import { createClaimer } from 'millrace'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { all } from './consumers.ts'
import { redis } from './redis.ts'

export const handler = createClaimer(all, { redis, observe: [reportMetrics(), reportLogs()] })
