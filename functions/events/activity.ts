import { defineEvent } from 'millrace'
import * as z from 'zod/mini'

/** Fields as a producer in Python writes them: texts, and objects as JSON. */
const who = { user_id: z.string(), session_id: z.string() }

/** What it cost: a text with two decimals, since no number holds money. */
const amount = z.string().check(z.regex(/^\d{1,12}\.\d{2}$/))

/** Somebody viewed a page. */
export const PageViewed = defineEvent('page_view', {
  payload: z.object({ ...who, action: z.literal('view'), page: z.string() }),
})

/** Something was put into a cart, or taken out. */
export const CartChanged = defineEvent('cart', {
  payload: z.object({ ...who, action: z.enum(['add', 'remove']), sku: z.string() }),
})

/** A cart was paid. */
export const Purchased = defineEvent('purchase', {
  payload: z.object({ ...who, action: z.literal('buy'), amount, items: z.array(z.string()) }),
})

/** A session ended. */
export const LoggedOut = defineEvent('logout', { payload: z.object({ ...who, action: z.literal('logout') }) })

/** What was paid is to be sent. */
export const OrderPlaced = defineEvent('order_placed', {
  payload: z.object({ order_id: z.string(), user_id: z.string(), amount, items: z.array(z.string()) }),
})

/** An order that is not to be sent after all. */
export const OrderCancelled = defineEvent('order_cancelled', {
  payload: z.object({ order_id: z.string(), reason: z.string() }),
})

/** What a host measured: a decimal number as text. */
export const MetricSampled = defineEvent('metric', {
  payload: z.object({ host: z.string(), name: z.string(), value: z.string().check(z.regex(/^-?\d+(\.\d+)?$/)) }),
})
