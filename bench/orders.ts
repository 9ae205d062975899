import type { Connection } from 'millrace'
import { createPublisher, defineEvent } from 'millrace'
import * as z from 'zod/mini'

/** The events that every contender handles. */
export const OrderPaid = defineEvent('OrderPaid', {
  payload: z.object({ orderId: z.string(), amount: z.string(), currency: z.string() }),
})

export const STREAM = 'orders'
/** Entries a read, for every contender that reads batches. */
export const BATCH_SIZE = 100

const CHUNK = 1_000

/** Fills the stream, as a user of this package would. */
export async function publishOrders(redis: Connection, count: number): Promise<void> {
  const publisher = createPublisher({ stream: STREAM, redis, producer: 'shop', maxLength: Number.POSITIVE_INFINITY })
  for (const chunk of chunks(count)) await publisher.publishMany(chunk.map((n) => [OrderPaid, order(n)] as const))
}

/** Numbers from 0 to `count`, by the thousand. */
export function* chunks(count: number): Generator<number[]> {
  for (let from = 0; from < count; from += CHUNK)
    yield Array.from({ length: Math.min(CHUNK, count - from) }, (_, n) => from + n)
}

export function order(n: number) {
  return { orderId: `order-${n}`, amount: `${n % 1_000}.00`, currency: 'EUR' }
}
