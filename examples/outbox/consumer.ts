import type { EventOf, HandlerContext } from 'millrace'
import { defineConsumer, effects, on } from 'millrace'
import { OrderCancelled, OrderPaid, OrderPlaced, STREAM } from './events.ts'

/** A hash: how many orders were placed, paid and cancelled, and the cents that were paid. */
export const TOTALS = `{${STREAM}}:totals`

const count = (total: 'placed' | 'cancelled') => async (_event: unknown, context: HandlerContext) =>
  void effects(context).incrementField(TOTALS, total)

async function countPaid({ payload }: EventOf<typeof OrderPaid>, context: HandlerContext) {
  effects(context).incrementField(TOTALS, 'paid').incrementField(TOTALS, 'cents', payload.cents)
}

/** Counts each event once: the relay publishes it once, and effects take place with its acknowledgement. */
export const sales = defineConsumer({
  stream: STREAM,
  group: 'sales',
  routes: [on(OrderPlaced, count('placed')), on(OrderPaid, countPaid), on(OrderCancelled, count('cancelled'))],
  handlerTimeoutMs: 10_000,
  minIdleMs: 20_000,
})
