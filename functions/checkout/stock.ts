import type { HandlerContext } from 'millrace'
import { StockClosed, StockMissing, StockReserved } from '../events/checkout.ts'
import type { CheckoutEvent } from './table.ts'
import { ask, move, STOCK, stateOf } from './table.ts'

// none → reserved | missing → released; none → released, too: then nothing is reserved later

/** Sets the goods of an order aside. Where others take the last of them meanwhile, the event comes again, and finds too few. */
export async function reserveStock({ payload: order }: CheckoutEvent, context: HandlerContext): Promise<void> {
  if ((await stateOf('stock', order)) !== 'none') return
  const { sku, quantity } = order
  const [left] = await ask([['HGET', STOCK, sku]])
  if (Number(left ?? 0) < quantity) move(context, 'stock', order, ['none', 'missing'], StockMissing)
  else
    move(context, 'stock', order, ['none', 'reserved'], StockReserved)
      .expectField(STOCK, sku, { atLeast: quantity })
      .incrementField(STOCK, sku, -quantity)
}

/** Puts back what was set aside. */
export async function releaseStock({ payload: order }: CheckoutEvent, context: HandlerContext): Promise<void> {
  const state = await stateOf('stock', order)
  if (state === 'released' || state === 'unknown') return
  const moved = move(context, 'stock', order, [state, 'released'], StockClosed)
  if (state === 'reserved') moved.incrementField(STOCK, order.sku, order.quantity)
}
