import { connectIoredis } from 'millrace/ioredis'
import { createIamClient, createIamToken } from './elasticache.ts'
import { redisUrl, signer } from './env.ts'

const url = await redisUrl()
// the cache that `infra/redis.yml` makes says its name, and wants tokens: `rediss://orders-poller-dev@host:6379?iam=orders-dev`
const { searchParams, username } = new URL(url)
const cache = searchParams.get('iam')

/** One connection an execution environment, shared by everything in it. */
export const redis =
  cache === null
    ? connectIoredis(url)
    : connectIoredis(() => createIamClient(url, () => createIamToken(cache, username, signer, new Date())))
