import { createPublisher } from 'millrace'
import { redis } from '../shared/redis.ts'

/** Of what the services tell each other, and of timeouts. */
export const checkout = createPublisher({ stream: 'checkout', redis, producer: 'checkout' })
