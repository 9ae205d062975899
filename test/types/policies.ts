import { defineConsumer, defineEvent, definePolicy, on, type Policy } from 'millrace'
import * as z from 'zod/mini'

const OrderPaid = defineEvent('OrderPaid', { payload: z.object({ orderId: z.string() }) })
const base = { stream: 'orders', group: 'billing', routes: [on(OrderPaid, () => {})] }

export const counted: Policy = definePolicy({ name: 'counted', begin: ({ now }) => ({ limit: () => now() % 2 }) })

export const billing = defineConsumer({ ...base, use: [counted, (next) => (event, context) => next(event, context)] })

// @ts-expect-error definePolicy makes a policy of it
export const plain = defineConsumer({ ...base, use: [{ name: 'plain', maxPollers: 1 }] })

// @ts-expect-error a hook that there is not
export const unknown = definePolicy({ name: 'unknown', starts: () => undefined })

// @ts-expect-error nobody waits for a hook
export const late = definePolicy({ name: 'late', begin: async () => ({}) })
