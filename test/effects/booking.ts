import type { Connection, Consumer } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, effects, on, onBatch } from 'millrace'
import * as z from 'zod/mini'
import { OrderPaid } from '../support/consumer.ts'

export const OrderShipped = defineEvent('OrderShipped', { payload: z.object({ orderId: z.string() }) })
const Booked = defineEvent('Booked', { payload: z.object({ orderId: z.string() }) })

/** Group `billing` on stream `orders`: counts and books what was paid, one by one, and counts what was shipped, in batches. */
export function booking(redis: Connection): Consumer {
  const ledger = createPublisher({ stream: '{orders}:ledger', redis })
  return defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [
      on(
        OrderPaid,
        ({ payload }, context) =>
          void effects(context)
            .publish(ledger, Booked, payload)
            .increment('{orders}:booked')
            .addToSet('{orders}:ids', payload.orderId),
      ),
      onBatch(OrderShipped, (events, context) => {
        effects(context).increment('{orders}:shipped', events.length)
      }),
    ],
    batchSize: 10,
    maxDeliveries: 1_000,
    backoff: { firstMs: 0 },
  })
}
