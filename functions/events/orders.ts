import { defineEvent } from 'millrace'
import * as z from 'zod/mini'

/** A customer paid. Version 1 had no currency: everything was sold in euros. */
export const OrderPaid = defineEvent('OrderPaid', {
  version: 2,
  payload: z.object({ orderId: z.string(), amount: z.string(), currency: z.string() }),
  upcast: { 1: (old) => ({ ...old, currency: 'EUR' }) },
})

/** A parcel is ready to be picked up. */
export const OrderShipped = defineEvent('OrderShipped', {
  payload: z.object({ orderId: z.string(), carrier: z.string(), parcels: z.number() }),
})
