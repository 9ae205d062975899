import { defineEvent, flatCodec } from 'millrace'
import * as z from 'zod/mini'

/** Where producers write what users do, what they order, and how the hosts are. */
export const STREAMS = { actions: 'user-actions', orders: 'user-orders', metrics: 'system-metrics' } as const

/** Entries as a producer in Python writes them: a field a member, each a text, and what is an object or a list as JSON. */
export const activityCodec = flatCodec({
  typeField: 'event_type',
  idField: 'event_id',
  occurredAtField: 'published_at',
  producerField: 'producer_id',
  jsonFields: 'all',
})

/** Names become keys and members of Redis: a bound keeps them small. */
const name = z.string().check(z.minLength(1), z.maxLength(100))
const who = { user_id: name, session_id: name }
const items = z.array(name).check(z.maxLength(100))

/** What it cost: a text with two decimals, since no number holds money. */
const amount = z.string().check(z.regex(/^\d{1,12}\.\d{2}$/))

/** The shop's own currency, where one is named: a sum of two is the sum of none. */
const currency = z.optional(z.literal('EUR'))

/** Somebody viewed a page. */
export const PageViewed = defineEvent('page_view', {
  payload: z.object({ ...who, action: z.literal('view'), page: z.string().check(z.maxLength(2_000)) }),
})

/** Something was put into a cart, or taken out. */
export const CartChanged = defineEvent('cart', {
  payload: z.object({ ...who, action: z.enum(['add', 'remove']), sku: name }),
})

/** A cart was paid. */
export const Purchased = defineEvent('purchase', {
  payload: z.object({ ...who, action: z.literal('buy'), amount, currency, items }),
})

/** A session ended. */
export const LoggedOut = defineEvent('logout', { payload: z.object({ ...who, action: z.literal('logout') }) })

/** What was paid is to be sent. */
export const OrderPlaced = defineEvent('order_placed', {
  payload: z.object({ order_id: name, user_id: name, amount, currency, items }),
})

/** An order that is not to be sent after all. */
export const OrderCancelled = defineEvent('order_cancelled', {
  payload: z.object({ order_id: name, reason: z.string().check(z.maxLength(500)) }),
})

/** What a host measured: a number as text, as Python prints one. */
export const MetricSampled = defineEvent('metric', {
  payload: z.object({
    host: name,
    name,
    value: z.string().check(z.regex(/^-?\d{1,15}(\.\d{1,20})?(e[+-]?\d{1,2})?$/)),
  }),
})
