import { connectIoredis } from 'millrace/ioredis'
import { redisUrl } from './env.ts'

/** One connection an execution environment, shared by everything in it. */
export const redis = connectIoredis(await redisUrl())
