import type { HandlerContext } from 'millrace'
import { effects } from 'millrace'
import type { CheckoutEvent } from './table.ts'
import { STATS } from './table.ts'

/** Counts how orders ended. It keeps no state of an order that would know an event again: `idempotent` does, in the same step. */
export async function countEnded({ type, payload }: CheckoutEvent, context: HandlerContext): Promise<void> {
  effects(context).incrementField(STATS, `${type}:orders`).incrementField(STATS, `${type}:cents`, payload.cents)
}
