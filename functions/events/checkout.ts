import { defineEvent } from 'millrace'
import * as z from 'zod/mini'

/** What an order is called: part of keys, so that nothing else gets in. */
export const orderId = z.string().check(z.regex(/^[\w-]{1,64}$/))

/** So that the sum of all orders stays a 64-bit integer: one that does not fit would be refused, and every later one. */
const MAX_CENTS = 1_000_000_000

/** An order as it was placed. Every event of its checkout carries all of it, so that no service has to ask another one. */
const payload = z.object({
  orderId,
  cents: z.int().check(z.positive(), z.lte(MAX_CENTS)),
  sku: z.string().check(z.regex(/^[\w-]{1,64}$/)),
  quantity: z.int().check(z.gte(1), z.lte(1_000)),
})

export type Order = z.infer<typeof payload>

/** A customer has placed an order. */
export const OrderPlaced = defineEvent('OrderPlaced', { payload })

/** An order is open: payment and stock begin. */
export const OrderOpened = defineEvent('OrderOpened', { payload })

/** The customer's money is here. */
export const PaymentTaken = defineEvent('PaymentTaken', { payload })

/** The customer's bank says no. */
export const PaymentDeclined = defineEvent('PaymentDeclined', { payload })

/** The goods are set aside for the order. */
export const StockReserved = defineEvent('StockReserved', { payload })

/** There is not enough of the goods. */
export const StockMissing = defineEvent('StockMissing', { payload })

/** Paid and reserved: from here the order goes ahead, and no timeout ends it. */
export const OrderConfirmed = defineEvent('OrderConfirmed', { payload })

/** The carrier has the parcel. */
export const ParcelSent = defineEvent('ParcelSent', { payload })

/** No carrier takes the parcel. */
export const ParcelRefused = defineEvent('ParcelRefused', { payload })

/** The order had its time. Published when it opens, for later. */
export const OrderTimedOut = defineEvent('OrderTimedOut', { payload })

/** The order will not be: every service gives back what it has of it. */
export const OrderCancelled = defineEvent('OrderCancelled', { payload })

/** The payment service has to give the money back. */
export const RefundDue = defineEvent('RefundDue', { payload })

/** No money of the order is here any more, and none will be taken. */
export const PaymentClosed = defineEvent('PaymentClosed', { payload })

/** No goods are set aside for the order any more, and none will be. */
export const StockClosed = defineEvent('StockClosed', { payload })

/** An order has ended well: paid, reserved and sent. */
export const OrderFulfilled = defineEvent('OrderFulfilled', { payload })

/** An order has ended, and all of it was given back. */
export const OrderCompensated = defineEvent('OrderCompensated', { payload })
