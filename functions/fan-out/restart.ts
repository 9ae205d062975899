// Has cache invalidation start again from an entry: REDIS_URL=redis://… node functions/fan-out/restart.ts 1795971102000-0
import { createAsk } from '../shared/ask.ts'
import { redis } from '../shared/redis.ts'
import { startAgain } from './cache.ts'
import { cache } from './consumers.ts'

try {
  await startAgain(createAsk(redis, cache), process.argv[2] ?? '')
} catch (error) {
  console.error((error as Error).message)
  process.exitCode = 1
} finally {
  await redis.close()
}
