import type { HandlerContext } from 'millrace'
import type { CheckoutEvent } from './table.ts'
import { KEEP_MS, move, rowOf, STATS, stateOf } from './table.ts'

// none → counted

/** Counts how an order ended, once, however often it is told; from then on nothing of its row is needed but to know what comes late. */
export async function countEnded({ type, payload: order }: CheckoutEvent, context: HandlerContext): Promise<void> {
  if ((await stateOf('stats', order)) !== 'none') return
  move(context, 'stats', order, ['none', 'counted'])
    .incrementField(STATS, `${type}:orders`)
    .incrementField(STATS, `${type}:cents`, order.cents)
    .expire(rowOf(order.orderId), KEEP_MS)
}
