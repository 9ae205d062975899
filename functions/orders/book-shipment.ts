import type { EventOf, HandlerContext } from 'millrace'
import { NonRetryableError } from 'millrace'
import type { OrderShipped } from '../events/orders.ts'
import { carriers } from './carriers.ts'

/** Books the pick-up of an order's parcels. An unknown carrier stays unknown: no retry would help. */
export async function bookShipment(event: EventOf<typeof OrderShipped>, context: HandlerContext): Promise<void> {
  const { orderId, carrier, parcels } = event.payload
  const booked = carriers.get(carrier)
  if (!booked) throw new NonRetryableError(`No contract with carrier ${JSON.stringify(carrier)}`)
  await booked.book({ orderId, parcels, idempotencyKey: context.idempotencyKey, signal: context.signal })
}
