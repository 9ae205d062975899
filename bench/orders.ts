import type { Connection, Consumer, ConsumerOptions } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, on } from 'millrace'
import * as z from 'zod/mini'
import type { Handle } from './contender.ts'

/** The events that every contender handles. */
const OrderPaid = defineEvent('OrderPaid', {
  payload: z.object({ orderId: z.string(), amount: z.string(), currency: z.string() }),
})

export const STREAM = 'orders'
export const PRODUCER = 'shop'
/** Entries per read, for every contender that reads batches. */
export const BATCH_SIZE = 100

const CHUNK = 1_000

/** What a whole invocation of Lambda has: the run is bounded by its entries, not by its time. */
const INVOCATION_MS = 900_000

export const LAMBDA = {
  functionName: 'bench',
  awsRequestId: 'bench',
  getRemainingTimeInMillis: () => INVOCATION_MS,
}

/** The consumer that pollers and claimers run. */
export function ordersConsumer(
  group: string,
  handle: Handle,
  settings: Partial<Pick<ConsumerOptions, 'stream' | 'maxPending' | 'backoff'>> = {},
): Consumer {
  const routes = [on(OrderPaid, (event) => handle(event.payload))]
  return defineConsumer({ stream: STREAM, group, routes, batchSize: BATCH_SIZE, ...settings })
}

/**
 * Fills the stream, as a user of this package would.
 *
 * @param handle Called for each event that was written. Default: nothing is.
 */
export async function publishOrders(redis: Connection, count: number, handle?: Handle): Promise<void> {
  const publisher = createPublisher({
    stream: STREAM,
    redis,
    producer: PRODUCER,
    maxLength: Number.POSITIVE_INFINITY,
  })
  for (const chunk of chunks(count)) {
    const published = await publisher.publishMany(chunk.map((n) => [OrderPaid, order(n)] as const))
    if (handle) for (const { entryId } of published) await handle(entryId)
  }
}

/** Numbers from 0 to `count`, by the thousand. */
export function* chunks(count: number): Generator<number[]> {
  for (let from = 0; from < count; from += CHUNK)
    yield Array.from({ length: Math.min(CHUNK, count - from) }, (_, n) => from + n)
}

export function order(n: number) {
  return { orderId: `order-${n}`, amount: `${n % 1_000}.00`, currency: 'EUR' }
}
