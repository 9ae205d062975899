import { createPoller, listening } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { invokeSelf, wakeClaimer } from 'millrace/lambda'
import { reportMetrics } from 'millrace/powertools'
import { runner } from './errand.ts'

const redis = connectIoredis(process.env.REDIS_URL ?? '')
export const handler = createPoller(runner, {
  redis,
  listen: listening(),
  scaleOut: invokeSelf({ entriesPerPoller: 20 }),
  ...(process.env.KEEPS_TIME === 'wake' && { wake: wakeClaimer({ functionName: 'errands-test-claimer' }) }),
  observe: reportMetrics(),
})
