import type { HandlerContext } from 'millrace'
import { ParcelRefused, ParcelSent } from '../events/checkout.ts'
import { partners } from './partners.ts'
import type { CheckoutEvent } from './table.ts'
import { move, stateOf } from './table.ts'

// none → sent | refused

/** Has a carrier take the parcel of an order that is paid and reserved. */
export async function sendParcel({ payload: order }: CheckoutEvent, context: HandlerContext): Promise<void> {
  if ((await stateOf('shipping', order)) !== 'none') return
  const isSent = await partners.ship(order, context.signal)
  move(context, 'shipping', order, ['none', isSent ? 'sent' : 'refused'], isSent ? ParcelSent : ParcelRefused)
}
