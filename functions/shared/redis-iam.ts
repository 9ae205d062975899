import { connectIoredis } from 'millrace/ioredis'
import { iamAuth } from 'millrace/lambda'
import { redisUrl } from './env.ts'

const url = await redisUrl()
const { username, searchParams } = new URL(url)

/**
 * Takes the place of `redis.ts` where `infra/redis.yml` makes the Redis: it wants no password but a token, and its URL says the user and the
 * cache, `rediss://orders-poller-dev@host:6379?cluster&iam=orders-dev`.
 */
export const redis = connectIoredis(url, iamAuth({ userId: username, cacheName: searchParams.get('iam') ?? '' }))
