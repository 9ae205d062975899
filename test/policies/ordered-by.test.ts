import type { ConsumerOptions, OrderingKey } from 'millrace'
import {
  createPublisher,
  defineConsumer,
  defineEvent,
  idempotent,
  on,
  onBatch,
  orderedBy,
  poll,
  prioritized,
} from 'millrace'
import { connectMemory } from 'millrace/testing'
import { expect, it, vi } from 'vitest'
import * as z from 'zod/mini'
import { applyDeployedSettings } from '../../dist/run/event-source.js'

const Paid = defineEvent('Paid', { payload: z.unknown() })
const order = orderedBy(({ aggregateId }) => aggregateId)

const define = (options: Partial<ConsumerOptions>) => () =>
  defineConsumer({ stream: 'orders', group: 'billing', routes: [on(Paid, () => {})], use: [order], ...options })

it.each<[what: string, options: Partial<ConsumerOptions>, why: RegExp]>([
  ['several pollers', { maxPollers: 2 }, /maxPollers must be 1: a stream in order has one poller at a time, got 2/],
  ['allowLongHandlers', { allowLongHandlers: true }, /allowLongHandlers must be false/],
  [
    'a batch route',
    { routes: [onBatch(Paid, () => {})] },
    /a batch route keeps no order within its call, got onBatch of Paid/,
  ],
  ['idempotent()', { use: [order, idempotent({ ttlMs: 1_000 })] }, /"orderedBy" cannot be combined with "idempotent"/],
  ['itself', { use: [order, orderedBy(() => 'a')] }, /use must have each policy once, got "orderedBy" twice/],
  ['a route', { use: [], routes: [on(Paid, () => {}, { use: [order] })] }, /"orderedBy" must be used on the consumer/],
])('orderedBy() cannot be combined with %s', (_what, options, why) => {
  expect(define(options)).toThrow(why)
})

it('orderedBy() cannot be combined with a set of streams', () => {
  const stream = prioritized('jobs', ['high', 'low'])
  expect(() => defineConsumer({ stream, group: 'billing', routes: [on(Paid, () => {})], use: [order] })).toThrow(
    'orderedBy is for a consumer of one stream',
  )
})

it('a consumer with orderedBy() has one poller', () => {
  expect(define({})().settings.maxPollers).toBe(1)
})

it.each(['drain', 'listen'] as const)(
  'a run of a consumer with orderedBy() and mode %s may listen, or linger',
  async (mode) => {
    const redis = connectMemory()
    const calls: unknown[] = []
    const routes = [on(Paid, (event) => void calls.push(event))]
    const consumer = define({ mode, routes, handlerTimeoutMs: 100, reserveMs: 100, minIdleMs: 5_100 })()
    const stop = new AbortController()
    const listening = poll(consumer, { redis, mode: 'listen', signal: stop.signal })
    await createPublisher({ stream: 'orders', redis }).publish(Paid, 1, { aggregateId: 'a' })
    await vi.waitUntil(() => calls.length === 1)
    stop.abort()

    expect((await listening).acked).toBe(1)
    expect((await poll(consumer, { redis, mode: 'drain', lingerMs: 50 })).noFreeSlot).toBe(false)
  },
)

it('a deployment that asks for more pollers of a consumer with orderedBy() has one', () => {
  const env = {
    MILLRACE_EVENT_SOURCE: JSON.stringify([{ stream: 'orders', group: 'billing', maxPollers: 4, mode: 'listen' }]),
  }
  const [{ settings } = {}] = applyDeployedSettings([define({})() as never], env)

  expect([settings?.maxPollers, settings?.mode]).toEqual([1, 'listen'])
})

it.each([undefined, 'key', async () => 'a', function* () {}])('orderedBy() takes no %s as key', (keyOf) => {
  expect(() => orderedBy(keyOf as never)).toThrow('it must be given a function of the event that answers at once')
})

it.each([
  [{ afterDeadLetter: 'wait' }, 'afterDeadLetter must be one of "continue", got "wait"'],
  [{ afterDeadletter: 'continue' }, 'unknown option "afterDeadletter"'],
])('orderedBy() refuses %j', (options, message) => {
  expect(() => orderedBy(() => 'a', options as never)).toThrow(message)
})

it.each<[what: string, keyOf: () => unknown, error: string]>([
  ['a number', () => 7, 'orderedBy must give a text of 1 byte to 1 KB, or undefined, got number'],
  ['an empty text', () => '', 'orderedBy must give a text of 1 byte to 1 KB, or undefined, got 0 bytes'],
  [
    'more than 1 KB',
    () => 'ä'.repeat(513),
    'orderedBy must give a text of 1 byte to 1 KB, or undefined, got 1026 bytes',
  ],
  ['null', () => null, 'orderedBy must give a text of 1 byte to 1 KB, or undefined, got object'],
  [
    'a failure',
    () => {
      throw new Error('no key')
    },
    'no key',
  ],
])('a key that is %s makes its entry a dead letter', async (_what, keyOf, error) => {
  const redis = connectMemory()
  const calls: unknown[] = []
  const consumer = define({
    routes: [on(Paid, (event) => void calls.push(event))],
    use: [orderedBy(keyOf as OrderingKey)],
  })()
  await createPublisher({ stream: 'orders', redis }).publish(Paid, 1)

  const report = await poll(consumer, { redis })

  const [letter] = redis.entries('{orders}:billing:dlq')
  const facts = Object.fromEntries(letter?.fields ?? [])
  expect([report.deadLettered, calls, facts.reason, facts.errorMessage]).toEqual([1, [], 'malformed', error])
})

it('a key function sees all of an event but its payload', async () => {
  const redis = connectMemory()
  const seen: unknown[] = []
  const consumer = define({
    use: [
      orderedBy((event) => {
        seen.push(event)
        return undefined
      }),
    ],
  })()
  const publisher = createPublisher({ stream: 'orders', redis, producer: 'shop' })
  await publisher.publish(Paid, { secret: 1 }, { aggregateType: 'order', aggregateId: 'o-1', eventId: 'e-1' })

  await poll(consumer, { redis })

  expect(seen[0]).toMatchObject({
    type: 'Paid',
    aggregateType: 'order',
    aggregateId: 'o-1',
    eventId: 'e-1',
    producer: 'shop',
  })
  expect(seen[0]).not.toHaveProperty('payload')
})
