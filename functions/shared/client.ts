import { Redis } from 'ioredis'
import { redisUrl } from './env.ts'

/** For what a system asks Redis itself. It connects when it is first used; a command waits for two seconds at most. For a cluster, make a `Cluster` of it. */
export const client = new Redis(await redisUrl(), {
  lazyConnect: true,
  enableReadyCheck: false, // no right to INFO
  connectTimeout: 2_000,
  commandTimeout: 2_000,
  maxRetriesPerRequest: 1,
})
client.on('error', () => {}) // the command that failed says so
