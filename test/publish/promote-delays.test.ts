import { describe, expect, it, test } from 'vitest'
import * as z from 'zod/mini'
import { defineConsumer, on } from '../../src/define/consumer.ts'
import { defineEvent } from '../../src/define/event.ts'
import type { Observed } from '../../src/define/observe.ts'
import { type PublishFailedError, RedisConnectionError, RedisReplyError } from '../../src/errors.ts'
import type { Connection } from '../../src/group/connection.ts'
import type { DelayedEntries } from '../../src/group/delays.ts'
import { connectMemory } from '../../src/group/memory/memory-connection.ts'
import { promoteDelays } from '../../src/publish/promote-delays.ts'
import { createPublisher } from '../../src/publish/publisher.ts'

const Ping = defineEvent('Ping', { payload: z.number() })
const HOUR = 3_600_000
const wake = { group: 'billing', windowMs: 1_000, wake: async () => {}, onError: () => {} }

describe('promoteDelays()', () => {
  test.each<[refusal: Error, options: unknown]>([
    [new TypeError('Cannot make promoteDelays: unknown option "wakes"; known are wake'), { wakes: [] }],
    [new TypeError('Cannot make promoteDelays: options must be an object, got string'), 'billing'],
    [
      new TypeError('Cannot make promoteDelays: wake must come from wakePoller of millrace/lambda'),
      { wake: 'billing' },
    ],
    [
      new RangeError('Cannot make promoteDelays: wake.windowMs must be >= 1, got 0'),
      { wake: { ...wake, windowMs: 0 } },
    ],
  ])('throws %s', (refusal, options) => {
    expect(() => promoteDelays(options as object)).toThrow(refusal)
  })

  it('is what the option delays of a consumer takes, and nothing else', () => {
    const define = (delays: unknown) =>
      defineConsumer({ stream: 'orders', group: 'g', routes: [on(Ping, () => {})], delays: delays as never })
    const delays = promoteDelays()

    expect(define(delays).delays).toBe(delays)
    for (const other of [{}, 'yes', null, promoteDelays])
      expect(() => define(other)).toThrow('delays must come from promoteDelays()')
  })
})

describe('a publisher', () => {
  /** What it hands to a connection, which answers that. */
  function watched(answers: readonly (string | number | Error)[]) {
    const calls: { delayed: DelayedEntries | undefined; flags: number }[] = []
    const redis: Pick<Connection, 'append' | 'group' | 'delaying'> = {
      group: () => {
        throw new Error('a publisher asks for no group')
      },
      delaying: { cancel: async () => 'unknown', promote: () => Promise.reject(new Error('it does not promote')) },
      append: async (_stream, _entries, _trim, flags = [], delayed) => {
        calls.push({ delayed, flags: flags.length })
        return { answers, raised: flags.map(() => false) }
      },
    }
    return { calls, redis: redis as Connection }
  }

  it('hands on what is delayed, and raises flags only where something is for now', async () => {
    const { calls, redis } = watched([5, '1-0'])
    const publisher = createPublisher({ stream: 'orders', redis, wake })
    await publisher.publish(Ping, 1, { eventId: 'a', delayMs: HOUR })
    await publisher.publishMany([
      [Ping, 1, { eventId: 'a', deliverAt: new Date(7) }],
      [Ping, 2],
    ])
    await publisher.publishMany([
      [Ping, 1],
      [Ping, 2],
    ])

    expect(calls).toEqual([
      { delayed: { delays: [{ eventId: 'a', delayMs: HOUR }], groups: ['billing'] }, flags: 0 },
      { delayed: { delays: [{ eventId: 'a', deliverAt: 7 }, undefined], groups: ['billing'] }, flags: 1 },
      { delayed: undefined, flags: 1 },
    ])
  })

  it('notifies observers until when an event is delayed, and names it where others are refused', async () => {
    const seen: Observed['published'][] = []
    const refusal = new RedisReplyError('OOM')
    const { redis } = watched([5, '1-0', refusal])
    const publisher = createPublisher({ stream: 'orders', redis, observe: { published: (one) => void seen.push(one) } })

    const error = await publisher
      .publishMany([
        [Ping, 1, { delayMs: HOUR }],
        [Ping, 2],
        [Ping, 3, { delayMs: HOUR }],
      ])
      .catch((thrown: unknown) => thrown)

    const delayedUntil = [new Date(5), undefined, undefined]
    expect(error).toMatchObject({ entryIds: [undefined, '1-0', undefined], delayedUntil })
    expect((error as PublishFailedError).message).toMatch(/^Cannot publish 1 of 3 events/)
    expect(seen).toMatchObject([{ entryIds: [undefined, '1-0', undefined], delayedUntil, error }])
  })

  it('says cancelled, whichever of its calls did, after several lost answers', async () => {
    const memory = connectMemory()
    const losses = ['before', 'after', 'before']
    const { delaying } = memory
    const redis: Connection = {
      ...memory,
      delaying: {
        promote: (stream) => delaying?.promote(stream) as never,
        async cancel(...call) {
          const lost = losses.shift()
          const answer = lost === 'before' ? undefined : await delaying?.cancel(...call)
          if (lost !== undefined || !answer) throw new RedisConnectionError('the connection broke')
          return answer
        },
      },
    }
    const publisher = createPublisher({ stream: 'orders', redis })
    await publisher.publish(Ping, 1, { eventId: 'a', delayMs: HOUR })

    const answers: unknown[] = []
    for (let n = 0; n < 5; n++) answers.push(await publisher.cancel('a').catch((error: unknown) => error))

    const lost = expect.any(RedisConnectionError) as unknown
    expect(answers).toEqual([lost, lost, lost, 'cancelled', 'already-cancelled'])
  })

  it.each(['', undefined, 5])('cancels no event id %j', async (eventId) => {
    const publisher = createPublisher({ stream: 'orders', redis: connectMemory() })

    await expect(publisher.cancel(eventId as string)).rejects.toThrow(
      'Cannot cancel an event of stream "orders": eventId',
    )
  })
})

test('connectMemory() shows what is delayed, in due order', async () => {
  const clock = { now: () => 1_000, monotonic: () => 0, after: () => () => {} }
  const redis = connectMemory({ clock })
  const publisher = createPublisher({ stream: 'orders', redis, clock })
  await publisher.publish(Ping, 1, { eventId: 'b', delayMs: 2 * HOUR })
  await publisher.publish(Ping, 2, { eventId: 'a', delayMs: HOUR })

  expect(redis.delayed('orders')).toMatchObject([
    { eventId: 'a', deliverAt: new Date(1_000 + HOUR), fields: expect.arrayContaining([['payload', '2']]) },
    { eventId: 'b', deliverAt: new Date(1_000 + 2 * HOUR) },
  ])
  expect(redis.entries('orders')).toEqual([])
})
