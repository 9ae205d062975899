import { createPublisher } from 'millrace'
import { redis } from '../shared/redis.ts'

/** Publishes what the services announce to each other, and timeouts. */
export const checkout = createPublisher({ stream: 'checkout', redis, producer: 'checkout' })
