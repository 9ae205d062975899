import { NonRetryableError } from 'millrace'
import * as z from 'zod/mini'
import type { Order } from '../events/checkout.ts'
import { partnersUrl } from '../shared/env.ts'

const Answer = z.object({ done: z.boolean() })

/** Order ids that begin so get a no, where there is no `PARTNERS_URL`: nobody is asked, as in a provider's sandbox. */
const SANDBOX = { charges: 'declined', refunds: 'untaken', parcels: 'nowhere' } as const

/**
 * The payment provider, and the carrier. Each request has a key that is the same whenever it is repeated for an order, so that it is carried out once, whoever asks again
 * after a crash or a lost answer. Each resolves to whether it was done; what is thrown is retried, but for a 422: what is refused for good is a dead letter.
 */
export const partners = {
  /** Takes the money. The answer is no where the bank declines, or a refund was asked for before. */
  charge: (order: Order, signal: AbortSignal) => ask('charges', order, signal),
  /** Gives back what was taken, and takes nothing for that order from then on. The answer is no where nothing was taken. */
  refund: (order: Order, signal: AbortSignal) => ask('refunds', order, signal),
  /** Takes the parcel. */
  ship: (order: Order, signal: AbortSignal) => ask('parcels', order, signal),
}

async function ask(what: keyof typeof SANDBOX, order: Order, signal: AbortSignal): Promise<boolean> {
  if (!partnersUrl) return !order.orderId.startsWith(SANDBOX[what])
  const response = await fetch(new URL(what, partnersUrl), {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': `${what}:${order.orderId}` },
    body: JSON.stringify(order),
    signal,
  })
  const { ok, status } = response
  if (ok) return Answer.parse(await response.json()).done
  await response.body?.cancel()
  if (status === 422) throw new NonRetryableError(`${what} were refused for good`)
  throw new Error(`${what} were answered with ${status}`)
}
