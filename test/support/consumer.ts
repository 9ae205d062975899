import type { Consumer, ConsumerOptions, EventHandler } from 'millrace'
import { defineConsumer, defineEvent, on } from 'millrace'
import * as z from 'zod/mini'

export const OrderPaid = defineEvent('OrderPaid', { payload: z.object({ orderId: z.string() }) })

/** Group `billing` on stream `orders` with one handler. */
export function billing(handler: EventHandler<never>, options: Partial<ConsumerOptions> = {}): Consumer {
  return defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [on(OrderPaid, handler as EventHandler)],
    ...options,
  })
}
