import { connectIoredis } from 'millrace/ioredis'
import { iamAuth } from 'millrace/lambda'
import { redisUrl } from './env.ts'

const { host, username, searchParams } = new URL(await redisUrl())

/**
 * Takes the place of `redis.ts` where `infra/redis.yml` makes the Redis: it wants no password but a token, and its URL says the user and the
 * cache, `rediss://orders-poller-dev@host:6379?iam=orders-dev`.
 */
export const redis = connectIoredis(
  `rediss://${host}`,
  iamAuth({ userId: username, cacheName: searchParams.get('iam') ?? '' }),
)
