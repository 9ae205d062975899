import { createPublisher } from 'millrace'
import { redis } from '../../../functions/shared/redis.ts'

/** Effects of it go into the stream that the test hands on from; what is delayed is published as ever. */
export const checkout = Object.assign(createPublisher({ stream: '{checkout}:held', redis, producer: 'checkout' }), {
  publish: createPublisher({ stream: 'checkout', redis, producer: 'checkout' }).publish,
})
