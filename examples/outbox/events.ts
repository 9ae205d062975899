import { defineEvent } from 'millrace'
import * as z from 'zod/mini'

export const STREAM = 'orders'

export const orderId = z.string().check(z.regex(/^[\w.-]{1,64}$/, 'must be 1 to 64 letters, digits, dots, dashes or _'))
/** An amount in minor units: a whole number from 1 to 2^53 - 1, which a double holds exactly. */
export const cents = z.int().check(z.positive())

export const OrderPlaced = defineEvent('OrderPlaced', { payload: z.object({ orderId, cents }) })
export const OrderPaid = defineEvent('OrderPaid', { payload: z.object({ orderId, cents }) })
export const OrderCancelled = defineEvent('OrderCancelled', { payload: z.object({ orderId }) })

/** What rows of the outbox may hold. To the relay, a new version is another event beside the old one, for as long as rows of both are written. */
export const EVENTS = [OrderPlaced, OrderPaid, OrderCancelled]
