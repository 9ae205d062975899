import { createClaimer } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { reportMetrics } from 'millrace/powertools'
import { runner } from './errand.ts'

export const handler = createClaimer(runner, {
  redis: connectIoredis(process.env.REDIS_URL ?? ''),
  observe: reportMetrics(),
})
