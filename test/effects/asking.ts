import type { BatchContext, BatchEvent, Connection, Consumer, ConsumerOptions, Effects, HandlerContext } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, effects, on, onBatch } from 'millrace'
import * as z from 'zod/mini'
import type { World } from '../policies/world.ts'
import { billing, Paid } from '../policies/world.ts'

export const Booked = defineEvent('Booked', { payload: z.object({ orderId: z.string() }) })

type PaidEvent = Parameters<Parameters<typeof billing>[0]>[0]

/** Group `billing` on stream `orders`, whose handler asks for effects. */
export function asking(
  ask: (effects: Effects, event: PaidEvent, context: HandlerContext) => unknown,
  options: Partial<ConsumerOptions> = {},
): Consumer {
  return billing((event, context) => ask(effects(context as HandlerContext), event, context as HandlerContext), options)
}

/** The same with a batch handler. */
export function askingBatch(
  handler: (events: readonly BatchEvent[], context: BatchContext) => unknown,
  { maxEvents = 100, ...options }: Partial<ConsumerOptions> & { readonly maxEvents?: number } = {},
): Consumer {
  return defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [onBatch(Paid, handler as never, { maxEvents })],
    backoff: { firstMs: 0, factor: 1, maxMs: 0 },
    ...options,
  })
}

export function ledgerOf(redis: Connection, options: object = {}) {
  return createPublisher({ stream: '{orders}:ledger', redis, ...options })
}

/** Event ids and orders of what is in the ledger and was not read yet, in order. */
export async function readLedger(world: World): Promise<[eventId: string, orderId: string][]> {
  const found: [string, string][] = []
  const books = defineConsumer({
    stream: '{orders}:ledger',
    group: 'books',
    routes: [on(Booked, ({ eventId, payload }) => void found.push([eventId, payload.orderId]))],
    concurrency: 1,
  })
  await world.poll(books)
  return found
}
