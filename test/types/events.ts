import type { Delayed, DelayOptions, Event, EventOf, PayloadOf, Published } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, on, promoteDelays, readEvents } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import * as z from 'zod/mini'
import type { Equal, Expect } from './equal.ts'

/** A schema whose input and output differ: by a default, and by a transform. */
const OrderPaid = defineEvent('OrderPaid', {
  version: 2,
  payload: z.object({
    orderId: z.string(),
    currency: z._default(z.string(), 'EUR'),
    paidAt: z.pipe(
      z.string(),
      z.transform((text) => new Date(text)),
    ),
  }),
  upcast: { 1: (old) => ({ ...old, paidAt: old.at }) },
})
const Ping = defineEvent('Ping', { payload: z.number() })

type Input = { orderId: string; currency?: string | undefined; paidAt: string }
type Output = { orderId: string; currency: string; paidAt: Date }

export type Assertions = [
  Expect<Equal<PayloadOf<typeof OrderPaid>, Input>>,
  Expect<Equal<EventOf<typeof OrderPaid>['payload'], Output>>,
  Expect<Equal<EventOf<typeof OrderPaid>['type'], 'OrderPaid'>>,
  Expect<Equal<EventOf<typeof OrderPaid>, Event<'OrderPaid', Output>>>,
  Expect<Equal<(typeof OrderPaid)['type'], 'OrderPaid'>>,
]

const redis = connectIoredis('redis://127.0.0.1')
const orders = createPublisher({ stream: 'orders', redis })

export async function publishes(): Promise<void> {
  const payload = { orderId: 'o-1', paidAt: '2026-01-02' }
  const published = await orders.publish(OrderPaid, payload, { aggregateId: 'o-1', occurredAt: new Date() })
  const many = await orders.publishMany([
    [OrderPaid, payload],
    [Ping, 1, { eventId: 'e-1' }],
    [OrderPaid, { ...payload, currency: 'USD' }, undefined],
  ])
  const mapped = await orders.publishMany(
    ['o-1', 'o-2'].map((orderId) => [OrderPaid, { ...payload, orderId }] as const),
  )
  const ids: string[] = [published, ...many, ...mapped].flatMap(({ entryId, eventId }) => [entryId, eventId])
  console.log(ids)
}

export async function delays(delayMs: number | undefined): Promise<void> {
  const now = await orders.publish(Ping, 1, { eventId: 'e' })
  const later = await orders.publish(Ping, 1, { delayMs: 5, eventId: 'e' })
  const until = await orders.publish(Ping, 1, { deliverAt: new Date() })
  const maybe = await orders.publish(Ping, 1, { delayMs })
  const either = await orders.publish(Ping, 1, delayMs ? { delayMs } : {})
  const [first, second, third, fourth, fifth] = await orders.publishMany([
    [Ping, 1, { delayMs: 5 }],
    [OrderPaid, { orderId: 'o-1', paidAt: '2026-01-02' }],
    [Ping, 1, { deliverAt: new Date() }],
    [Ping, 1, { delayMs }],
    [Ping, 1, { eventId: 'e' }],
  ])
  const mapped = await orders.publishMany([1, 2].map((n) => [Ping, n, { delayMs: 5 }] as const))
  const assertions: [
    Expect<Equal<typeof now, Published>>,
    Expect<Equal<typeof later, Delayed>>,
    Expect<Equal<typeof until, Delayed>>,
    Expect<Equal<typeof maybe, Published | Delayed>>,
    Expect<Equal<typeof either, Published | Delayed>>,
    Expect<Equal<typeof first, Delayed>>,
    Expect<Equal<typeof second, Published>>,
    Expect<Equal<typeof third, Delayed>>,
    Expect<Equal<typeof fourth, Published | Delayed>>,
    Expect<Equal<typeof fifth, Published>>,
    Expect<Equal<typeof mapped, Delayed[]>>,
  ] = [true, true, true, true, true, true, true, true, true, true, true]
  const cancelled: 'cancelled' | 'already-cancelled' | 'too-late' | 'unknown' = await orders.cancel(later.eventId)
  // @ts-expect-error it is in no stream yet
  console.log(later.entryId, cancelled, assertions)
}

export async function deduplicates(deduplicateMs: number | undefined): Promise<void> {
  const publisher = createPublisher({ stream: 'orders', redis, deduplicateMs: 60_000 })
  const now = await publisher.publish(Ping, 1, { eventId: 'e', deduplicateMs: 5 })
  const later = await publisher.publish(Ping, 1, { eventId: 'e', deduplicateMs, delayMs: 5 })
  const [first, second] = await publisher.publishMany([
    [Ping, 1, { deduplicateMs: 5 }],
    [Ping, 1, { deduplicateMs, deliverAt: new Date() }],
  ])
  const assertions: [
    Expect<Equal<typeof now, Published>>,
    Expect<Equal<typeof later, Delayed>>,
    Expect<Equal<typeof first, Published>>,
    Expect<Equal<typeof second, Delayed>>,
    Expect<Equal<Published['duplicate'], true | undefined>>,
    Expect<Equal<Delayed['duplicate'], true | undefined>>,
  ] = [true, true, true, true, true, true]
  console.log(assertions)
  // @ts-expect-error a window is a number
  await publisher.publish(Ping, 1, { deduplicateMs: '5' })
  // @ts-expect-error a window is a number
  createPublisher({ stream: 'orders', redis, deduplicateMs: '5' })
}

export async function readsBack(): Promise<void> {
  await orders.publish(Ping, 1, { aggregateId: 'a', expectedVersion: 0 })
  for await (const event of readEvents('orders', { redis, events: [OrderPaid, Ping], aggregateId: 'a', from: 2 })) {
    const assertions: [
      Expect<Equal<typeof event.aggregateVersion, number>>,
      Expect<Equal<typeof event.entryId, string>>,
    ] = [true, true]
    console.log(assertions, event.type === 'Ping' ? event.payload.toFixed() : event.payload.paidAt.toISOString())
  }
  // @ts-expect-error a version is a number
  await orders.publish(Ping, 1, { expectedVersion: 'any' })
  // @ts-expect-error a delayed event has none
  const delayed: DelayOptions = { expectedVersion: 0, delayMs: 5 }
  console.log(delayed)
  // @ts-expect-error events are definitions
  readEvents('orders', { redis, events: ['Ping'] })
  // @ts-expect-error which aggregate it is, is said by its id
  readEvents('orders', { redis, events: [Ping], aggregate: 'a' })
}

export async function doesNotDelay(): Promise<void> {
  // @ts-expect-error both at once
  await orders.publish(Ping, 1, { delayMs: 5, deliverAt: new Date() })
  // @ts-expect-error a time is a Date
  await orders.publish(Ping, 1, { deliverAt: '2030-01-01' })
  // @ts-expect-error a delay is a number
  await orders.publish(Ping, 1, { delayMs: '5' })
  // @ts-expect-error there is no such option
  await orders.publishMany([[Ping, 1, { delay: 5 }]])
  // @ts-expect-error an object of one's own is no promoter
  defineConsumer({ stream: 'orders', group: 'g', routes: [on(Ping, () => {})], delays: {} })
  defineConsumer({ stream: 'orders', group: 'g', routes: [on(Ping, () => {})], delays: promoteDelays() })
}

export async function doesNotPublish(): Promise<void> {
  // @ts-expect-error a member is missing
  await orders.publish(OrderPaid, { orderId: 'o-1' })
  // @ts-expect-error a member has another type
  await orders.publish(OrderPaid, { orderId: 1, paidAt: '2026-01-02' })
  // @ts-expect-error a Date is what the schema gives, not what it takes
  await orders.publish(OrderPaid, { orderId: 'o-1', paidAt: new Date() })
  // @ts-expect-error a member is not in the schema
  await orders.publish(OrderPaid, { orderId: 'o-1', paidAt: '2026-01-02', amount: 1 })
  // @ts-expect-error another event's payload
  await orders.publish(Ping, { orderId: 'o-1', paidAt: '2026-01-02' })
  // @ts-expect-error an event goes by its definition, not by its name
  await orders.publish('OrderPaid', { orderId: 'o-1', paidAt: '2026-01-02' })
  // @ts-expect-error there is no such option
  await orders.publish(Ping, 1, { id: 'e-1' })
  // @ts-expect-error the producer is the publisher's
  await orders.publish(Ping, 1, { producer: 'shop' })
}

export async function doesNotPublishMany(): Promise<void> {
  const paid = { orderId: 'o-1', paidAt: '2026-01-02' }
  await orders.publishMany([
    [OrderPaid, paid],
    // @ts-expect-error another event's payload
    [Ping, paid],
  ])
  await orders.publishMany([
    // @ts-expect-error a member is missing
    [OrderPaid, { orderId: 'o-1' }],
    [Ping, 1],
  ])
  // @ts-expect-error a payload is missing
  await orders.publishMany([[Ping]])
  // @ts-expect-error there is no such option
  await orders.publishMany([[Ping, 1, { id: 'e-1' }]])
  // @ts-expect-error every payload of a mapped list is checked
  await orders.publishMany(['a'].map((orderId) => [Ping, { orderId }] as const))
}

/** A plain exported function is a handler. */
export async function sendReceipt(event: EventOf<typeof OrderPaid>): Promise<void> {
  console.log(event.payload.paidAt.toISOString())
}

export const consumer = defineConsumer({
  stream: 'orders',
  group: 'billing',
  routes: [
    on(OrderPaid, sendReceipt),
    on(Ping, ({ payload, type }, { signal, deliveryCount, fields }) => {
      const assertions: [Expect<Equal<typeof payload, number>>, Expect<Equal<typeof type, 'Ping'>>] = [true, true]
      return [payload.toFixed(), signal.aborted, deliveryCount + 1, fields.length, assertions]
    }),
  ],
})

export const routes = [
  // a handler of any event
  on(OrderPaid, (event: Event) => event.payload),
  on(OrderPaid, () => {}),
  // @ts-expect-error a handler of another event's payload
  on(Ping, sendReceipt),
  // @ts-expect-error a handler takes the schema's output, where paidAt is a Date
  on(OrderPaid, (event: Event<'OrderPaid', Input>) => event.payload.paidAt),
  // @ts-expect-error a handler of an event by another name
  on(OrderPaid, (event: Event<'OrderShipped', Output>) => event.payload.orderId),
  // @ts-expect-error an event goes by its definition, not by its name
  on('OrderPaid', () => {}),
  // @ts-expect-error a payload has no such member
  on(OrderPaid, ({ payload }) => payload.amount),
]

export function changes(event: EventOf<typeof OrderPaid>): void {
  event.payload.currency = 'USD' // the payload is the handler's own
  // @ts-expect-error the event around it is read-only
  event.eventId = 'e-2'
}

export const definitions = [
  defineEvent('A', { payload: z.string(), version: 3, upcast: { 1: () => 'a', 2: (old) => old.text } }),
  // @ts-expect-error a schema is a must
  defineEvent('A', {}),
  // @ts-expect-error what is no Standard Schema
  defineEvent('A', { payload: { parse: () => 'a' } }),
  // @ts-expect-error there is no such option
  defineEvent('A', { payload: z.string(), schema: z.string() }),
  // @ts-expect-error an upcast is a function
  defineEvent('A', { payload: z.string(), version: 2, upcast: { 1: 'a' } }),
  // @ts-expect-error an upcast has to inspect what it is given: its members are unknown
  defineEvent('A', { payload: z.string(), version: 2, upcast: { 1: (old) => old.text.length } }),
]
