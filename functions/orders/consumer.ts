import { defineConsumer, on } from 'millrace'
import { OrderPaid, OrderShipped } from '../events/orders.ts'
import { ordersStream } from '../shared/env.ts'
import { bookShipment } from './book-shipment.ts'
import { sendReceipt } from './send-receipt.ts'

export const billing = defineConsumer({
  stream: ordersStream,
  group: 'billing',
  routes: [on(OrderPaid, sendReceipt), on(OrderShipped, bookShipment, { when: ({ payload }) => payload.parcels > 0 })],
  batchSize: 100,
  concurrency: 10,
  handlerTimeoutMs: 10_000,
  minIdleMs: 60_000,
  maxDeliveries: 5,
  backoff: { firstMs: 1_000, factor: 2, maxMs: 60_000 },
})
