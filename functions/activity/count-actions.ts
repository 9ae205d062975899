import type { EventOf, HandlerContext } from 'millrace'
import { effects } from 'millrace'
import type { CartChanged, LoggedOut, PageViewed, Purchased } from '../events/activity.ts'
import { centsOf } from '../shared/money.ts'
import { dayOf } from './entry-time.ts'

type Action = EventOf<typeof PageViewed | typeof CartChanged | typeof Purchased | typeof LoggedOut>

const KEPT_MS = 35 * 86_400_000

/** Counts what users did, by day: so many views, carts, purchases and logouts, and about how many users. */
export function countAction({ payload }: Action, context: HandlerContext): void {
  const users = effects(context).key(`users:${dayOf(context.entryId)}`)
  effects(context)
    .incrementField(countsKey(context), payload.action)
    .expire(countsKey(context), KEPT_MS)
    .addToHyperLogLog(users, payload.user_id)
    .expire(users, KEPT_MS)
}

/** Counts a purchase likewise, and adds up what was paid. */
export function countPurchase(event: EventOf<typeof Purchased>, context: HandlerContext): void {
  countAction(event, context)
  effects(context).incrementField(countsKey(context), 'cents', centsOf(event.payload.amount))
}

const countsKey = (context: HandlerContext) => effects(context).key(`activity:${dayOf(context.entryId)}`)
