import { defineEvent } from 'millrace'
import * as z from 'zod/mini'

/** The shop's one stream of orders, which many groups read. */
export const STREAM = 'shop-orders'

/** Ids become part of keys, so that nothing else gets in. */
export const id = z.string().check(z.regex(/^[\w-]{1,64}$/))

/** So that sums stay 64-bit integers. */
const cents = z.int().check(z.positive(), z.lte(1_000_000_000))

const order = { orderId: id, customerId: id }

/** A customer has placed an order. */
export const OrderPlaced = defineEvent('OrderPlaced', {
  payload: z.object({ ...order, cents, items: z.array(id).check(z.minLength(1), z.maxLength(100)) }),
})

/** Its money is here. */
export const OrderPaid = defineEvent('OrderPaid', { payload: z.object({ ...order, cents }) })

/** Its money was given back, or a part of it. */
export const OrderRefunded = defineEvent('OrderRefunded', { payload: z.object({ ...order, cents }) })

/** The carrier has its parcel. */
export const OrderShipped = defineEvent('OrderShipped', { payload: z.object({ ...order, carrier: id }) })

/** It will not be sent after all. */
export const OrderCancelled = defineEvent('OrderCancelled', {
  payload: z.object({ ...order, reason: z.string().check(z.maxLength(500)) }),
})

/** All types of the stream. */
export const ORDER_EVENTS = [OrderPlaced, OrderPaid, OrderRefunded, OrderShipped, OrderCancelled] as const
