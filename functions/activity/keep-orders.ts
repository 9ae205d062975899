import type { EventOf, HandlerContext } from 'millrace'
import { effects } from 'millrace'
import type { OrderCancelled, OrderPlaced } from '../events/activity.ts'
import { centsOf } from '../shared/money.ts'
import { dayOf, entryTime } from './entry-time.ts'

const KEPT_MS = 35 * 86_400_000

/** Notes that an order was placed. */
export function keepPlaced({ payload }: EventOf<typeof OrderPlaced>, context: HandlerContext): void {
  const { order_id, user_id, amount, items } = payload
  keep(order_id, { placed: entryTime(context.entryId), user_id, amount, items: JSON.stringify(items) }, context)
  addUp('placed', centsOf(amount), context)
}

/** Notes that it was cancelled, whether or not it is known to be placed: producers and retries keep no order. */
export function keepCancelled({ payload }: EventOf<typeof OrderCancelled>, context: HandlerContext): void {
  const { order_id, reason } = payload
  keep(order_id, { cancelled: entryTime(context.entryId), reason }, context)
  addUp('cancelled', 0n, context)
}

/**
 * What becomes of an order, by the facts that are kept of it. They only grow, and each has fields of its own: whichever comes first, once cancelled is cancelled.
 *
 * @param facts What its hash holds.
 */
export function stateOf(facts: Readonly<Record<string, string>>): 'unknown' | 'to send' | 'cancelled' {
  if (facts.cancelled !== undefined) return 'cancelled'
  return facts.placed === undefined ? 'unknown' : 'to send'
}

function keep(orderId: string, facts: Readonly<Record<string, string>>, context: HandlerContext): void {
  const order = effects(context).key(`order:${orderId}`)
  effects(context).setFields(order, facts).expire(order, KEPT_MS)
}

function addUp(field: string, cents: bigint, context: HandlerContext): void {
  const totals = effects(context).key(`totals:${dayOf(context.entryId)}`)
  effects(context).incrementField(totals, field).incrementField(totals, 'cents', cents).expire(totals, KEPT_MS)
}
