import type { BatchContext, BatchEvent, Effects, EventOf, HandlerContext } from 'millrace'
import { createPublisher, defineEvent, effects } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { createBatchContext, effectsOf } from 'millrace/testing'
import * as z from 'zod/mini'
import type { Equal, Expect } from './equal.ts'

const Booked = defineEvent('Booked', { payload: z.object({ orderId: z.string() }) })
const ledger = createPublisher({ stream: '{orders}:ledger', redis: connectIoredis('redis://127.0.0.1') })

export type Assertions = [Expect<Equal<ReturnType<typeof effects>, Effects>>]

export function asks(context: HandlerContext): void {
  const all: Effects = effects(context)
    .publish(ledger, Booked, { orderId: 'o-1' }, { aggregateId: 'o-1', occurredAt: new Date() })
    .increment('{orders}:booked', 2n)
    .set('{orders}:last', 'o-1', { ttlMs: 1 })
    .setFields('{orders}:h', { a: 1, b: 'c', d: 2n })
    .expectField('{orders}:h', 'a', { atLeast: 1n })
    .expectField('{orders}:h', 'e', null)
    .addToSet('{orders}:s', 'a', 'b')
    .addToSortedSet('{orders}:z', 'm', 1, { if: 'greater' })
    .incrementScore('{orders}:z', 'm', 2)
  const key: string = all.key('booked')
  console.log(key, effectsOf(context)[0]?.[0])
}

export function asksForBatch(context: BatchContext, events: readonly BatchEvent[]): void {
  effects(context).increment('{orders}:batches')
  for (const event of events) effects(context, event).increment('{orders}:events')
}

export function asksForBatchByItself(events: readonly BatchEvent<EventOf<typeof Booked>>[]): void {
  const context: BatchContext = createBatchContext(events, { maxDeliveries: 3 })
  for (const event of events) effects(context, event).increment('{orders}:events')
  console.log(effectsOf(context), events[0] && effectsOf(context, events[0])[0]?.[0])
}

export function isRefused(context: HandlerContext): void {
  const e = effects(context)
  // @ts-expect-error a payload that does not fit
  e.publish(ledger, Booked, { orderId: 1 })
  // @ts-expect-error an effect takes place at once
  e.publish(ledger, Booked, { orderId: 'o-1' }, { delayMs: 1 })
  // @ts-expect-error a number or a bigint
  e.increment('{orders}:booked', '1')
  // @ts-expect-error what is not there is null
  e.expectField('{orders}:h', 'a', undefined)
  // @ts-expect-error a condition that there is not
  e.addToSortedSet('{orders}:z', 'm', 1, { if: 'GT' })
  // @ts-expect-error no raw command
  e.command('FLUSHALL')
  // @ts-expect-error a batch without its events
  createBatchContext({ maxDeliveries: 3 })
  // @ts-expect-error no context
  effects({})
}
