import type { HandlerContext } from 'millrace'
import type { CheckoutEvent } from './table.ts'
import { KEEP_MS, move, rowOf, STATS, stateOf } from './table.ts'

// none → counted

/** Counts how an order ended, once, however often that comes. From then on its row only serves to know what is late. */
export async function countEnded({ type, payload: order }: CheckoutEvent, context: HandlerContext): Promise<void> {
  if ((await stateOf('stats', order)) !== 'none') return
  move(context, 'stats', order, ['none', 'counted'])
    .incrementField(STATS, `${type}:orders`)
    .incrementField(STATS, `${type}:cents`, order.cents)
    .expire(rowOf(order.orderId), KEEP_MS)
}
