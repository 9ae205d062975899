import type { EventOf, HandlerContext } from 'millrace'
import { effects } from 'millrace'
import type { OrderPaid, OrderRefunded } from '../events/shop-orders.ts'

/** Adds what a customer paid to the account, in one step with the acknowledgement: each event counts once. */
export function billOrder({ payload }: EventOf<typeof OrderPaid>, context: HandlerContext): void {
  book(payload.customerId, 'paid', payload.cents, context)
}

/** Adds what was given back. */
export function refundOrder({ payload }: EventOf<typeof OrderRefunded>, context: HandlerContext): void {
  book(payload.customerId, 'refunded', payload.cents, context)
}

function book(customerId: string, kind: 'paid' | 'refunded', cents: number, context: HandlerContext): void {
  const account = effects(context).key(`account:${customerId}`)
  const ledger = effects(context).key('ledger')
  effects(context)
    .incrementField(account, kind, cents)
    .incrementField(ledger, kind, cents)
    .incrementField(ledger, `${kind}:events`)
}
