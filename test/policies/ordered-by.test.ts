import type { ConsumerOptions, OrderingKey } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, on, orderedBy, poll } from 'millrace'
import { connectMemory } from 'millrace/testing'
import { expect, it } from 'vitest'
import * as z from 'zod/mini'

const Paid = defineEvent('Paid', { payload: z.unknown() })
const order = orderedBy(({ aggregateId }) => aggregateId)

const define = (options: Partial<ConsumerOptions>) => () =>
  defineConsumer({ stream: 'orders', group: 'billing', routes: [on(Paid, () => {})], use: [order], ...options })

it.each([undefined, 'key', async () => 'a', function* () {}])('orderedBy() takes no %s as key', (keyOf) => {
  expect(() => orderedBy(keyOf as never)).toThrow('it must be given a function of the event that answers at once')
})

it.each([
  [{ afterDeadLetter: 'stop' }, 'afterDeadLetter must be one of "continue", "wait", got "stop"'],
  [{ afterBatchItemFailure: 'all' }, 'afterBatchItemFailure must be one of "key", "checkpoint", got "all"'],
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
