import * as z from 'zod/mini'
import type { DelayPromoter } from '../../src/define/delay-promoter.ts'
import type { Connection } from '../../src/group/connection.ts'
import {
  createPublisher,
  defineEvent,
  PublishFailedError,
  promoteDelays,
  RedisConnectionError,
} from '../../src/index.ts'
import { assert } from './assert.ts'
import type { DelayModel } from './delay-model.ts'
import type { Process } from './process.ts'
import { type DelayAsk, isNewer, type Order, STREAM } from './world.ts'

const payload = z.object({ orderId: z.string() })
export const OlderOrderPaid = defineEvent('OrderPaid', { payload })
export const OrderPaid = defineEvent('OrderPaid', { payload, version: 2, upcast: { 1: (order) => order } })

/** An event that a process delays. */
export interface DelayWish {
  readonly eventId: string
  readonly when: NonNullable<DelayAsk['when']>
  /** One more of it: each call has an order of its own, to know whose came. */
  nextOrder(): Order
}

/** A process that asks a server about delayed events, and what it is held to. */
interface Client {
  readonly process: Process
  readonly redis: Connection
  readonly model: DelayModel
  nowMs(): number
}

/** Publishes, and again while no answer comes. */
export async function delayEvents({ process, redis, model }: Client, wishes: readonly DelayWish[]): Promise<void> {
  const publisher = createPublisher({ stream: STREAM, redis })
  await insist(() => {
    const asks = wishes.map(({ eventId, when, nextOrder }) => ({ eventId, when, order: nextOrder() }))
    model.asked(asks)
    const publications = asks.map(({ eventId, when, order: { orderId } }) => {
      const time = 'inMs' in when ? { delayMs: when.inMs } : { deliverAt: new Date(when.at) }
      return [isNewer(orderId) ? OrderPaid : OlderOrderPaid, { orderId }, { eventId, ...time }] as const
    })
    return process.noted(
      { name: 'delay', asks },
      () => publisher.publishMany(publications),
      (method) => model.delayed(process.name, method),
    )
  })
}

/** Cancels, and asks again while no answer comes. */
export async function cancelEvent({ process, redis, model, nowMs }: Client, eventId: string): Promise<void> {
  const publisher = createPublisher({ stream: STREAM, redis })
  await insist(() =>
    process.noted(
      { name: 'cancel', asks: [{ eventId }] },
      () => publisher.cancel(eventId),
      (method, answer) => model.cancelled(process.name, method, answer, nowMs()),
    ),
  )
}

/** Promotes until nothing is due. */
export async function promoteDue({ process, redis }: Omit<Client, 'model' | 'nowMs'>): Promise<void> {
  const promoter = observedPromoter(process)
  for (;;) {
    const { nextDueAt = Infinity, nowMs } = await insist(() => promoter.promote({ redis, stream: STREAM }))
    if (nextDueAt > nowMs) return
  }
}

/** What promotes, and has its process note that it does. */
export function observedPromoter(process: Process): DelayPromoter {
  const promoter = promoteDelays()
  return {
    promote: (request) =>
      process.noted(
        { name: 'promote', remainingMs: request.remainingMs },
        () => promoter.promote(request),
        (_method, { refusals: [refusal], unreadable }) =>
          assert(
            !refusal && unreadable === 0,
            `${process.name} could not promote: ${refusal}, ${unreadable} unreadable`,
          ),
      ),
  }
}

async function insist<Reply>(ask: () => Promise<Reply>): Promise<Reply> {
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      const { cause } = error as Error
      const isLost = [error, error instanceof PublishFailedError && cause].some(
        (one) => one instanceof RedisConnectionError,
      )
      if (!isLost) throw error
    }
  }
}
