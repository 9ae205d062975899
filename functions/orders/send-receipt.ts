import type { EventOf, HandlerContext } from 'millrace'
import type { OrderPaid } from '../events/orders.ts'
import { mail } from './mail.ts'

/** Mails the receipt of an order. A mail server that is busy is asked again later: what is thrown here is retried. */
export async function sendReceipt(event: EventOf<typeof OrderPaid>, context: HandlerContext): Promise<void> {
  const { orderId, amount, currency } = event.payload
  await mail.send({
    to: `${orderId}@customers.example`,
    subject: `Your receipt for order ${orderId}`,
    text: `We received ${amount} ${currency}. Thank you.`,
    idempotencyKey: context.idempotencyKey,
    attempt: context.deliveryCount,
    signal: context.signal,
  })
}
