import type { HandlerContext } from 'millrace'
import { PaymentClosed, PaymentDeclined, PaymentTaken, RefundDue } from '../events/checkout.ts'
import { partners } from './partners.ts'
import type { CheckoutEvent } from './table.ts'
import { move, stateOf } from './table.ts'

// none → paid | declined → refunding → refunded | void; none → refunding, too: a charge may be under way

const STAYS = ['refunding', 'refunded', 'void', 'unknown']

/** Takes the customer's money, once: the provider knows the order by its key. */
export async function takePayment({ payload: order }: CheckoutEvent, context: HandlerContext): Promise<void> {
  if ((await stateOf('payment', order)) !== 'none') return
  const isTaken = await partners.charge(order, context.signal)
  move(context, 'payment', order, ['none', isTaken ? 'paid' : 'declined'], isTaken ? PaymentTaken : PaymentDeclined)
}

/** Writes down that the money has to go back, before anybody is asked for it: a refund that fails leaves a state that says so. */
export async function cancelPayment({ payload: order }: CheckoutEvent, context: HandlerContext): Promise<void> {
  const state = await stateOf('payment', order)
  if (!STAYS.includes(state)) move(context, 'payment', order, [state, 'refunding'], RefundDue)
}

/** Gives back what was taken, and has the provider take nothing later. It may refuse for good: a dead letter, while the state stays `refunding`. */
export async function refundPayment({ payload: order }: CheckoutEvent, context: HandlerContext): Promise<void> {
  if ((await stateOf('payment', order)) !== 'refunding') return
  const isRefunded = await partners.refund(order, context.signal)
  move(context, 'payment', order, ['refunding', isRefunded ? 'refunded' : 'void'], PaymentClosed)
}
