import type { BatchEvent, Consumer, ConsumerOptions, EventHandler, Report, RouteOptions } from 'millrace'
import {
  createClaimer,
  createPoller,
  createPublisher,
  defineConsumer,
  defineEvent,
  filterPatterns,
  NonRetryableError,
  on,
  onBatch,
} from 'millrace'
import { connect } from 'millrace/connect'
import { connectMemory } from 'millrace/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import * as z from 'zod/mini'
import { systemClock } from '../../src/clock.ts'
import { reportImbalance } from '../../src/report.ts'
import { claimOnce } from '../support/claim-once.ts'
import { startRestServer } from '../support/rest-server.ts'
import { counts, startScenario } from '../support/scenario.ts'
import { watchCommands } from '../support/watch-commands.ts'

const Paid = defineEvent('Paid', { payload: z.object({ id: z.string(), amount: z._default(z.number(), 5) }) })
const HOUR = 3_600_000

/** A stream, and what a test does to it from outside. */
interface Place {
  poll(consumer: Consumer): Promise<Report>
  claim(consumer: Consumer): Promise<Report>
  /** Appends entries of that type, with that JSON as payload; answers the ids of them. */
  append(...entries: (readonly [type: string, payload: string, id?: string])[]): Promise<void>
  /** Reasons and types of the dead letters. */
  letters(): Promise<[reason: string, type: string][]>
  pending(): Promise<number>
}

async function onServer(): Promise<Place> {
  const { redis, raw, deadLetters, pending, age } = await startScenario()
  return {
    poll: (consumer) => createPoller(consumer, { redis })(),
    async claim(consumer) {
      await age(60_000)
      return createClaimer(consumer, { redis, lingerMs: 0 })()
    },
    async append(...entries) {
      for (const [type, payload, id = '*'] of entries)
        await raw.xadd('orders', id, 'eventType', type, 'payload', payload)
    },
    letters: async () => (await deadLetters()).map(({ head }) => [head.reason ?? '', head.eventType ?? '']),
    pending: async () => (await pending()).length,
  }
}

async function inMemory(): Promise<Place> {
  let offset = 0
  const clock = { ...systemClock, now: () => Date.now() + offset }
  const redis = connectMemory({ clock })
  const given = { redis, clock }
  return {
    poll: (consumer) => createPoller(consumer, given)(),
    claim(consumer) {
      offset += 60_000
      return createClaimer(consumer, { ...given, lingerMs: 0 })()
    },
    async append(...entries) {
      for (const [type, payload, id] of entries) {
        const fields = [['eventType', type] as const, ['payload', payload] as const]
        offset -= id === undefined ? 0 : 2 * HOUR
        await redis.append?.('orders', [fields], { kind: 'none' })
        offset += id === undefined ? 0 : 2 * HOUR
      }
    },
    async letters() {
      const textOf = (fields: readonly (readonly [string, string])[], text: string) =>
        fields.find(([name]) => name === text)?.[1] ?? ''
      return redis
        .entries('{orders}:billing:dlq')
        .map(({ fields }) => [textOf(fields, 'reason'), textOf(fields, 'eventType')])
    },
    pending: async () => redis.pending('orders', 'billing').length,
  }
}

const billing = (
  handler: EventHandler<never>,
  options: Partial<ConsumerOptions> = {},
  route: RouteOptions<never> = {},
) =>
  defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [on(Paid, handler as EventHandler, route as RouteOptions)],
    backoff: { firstMs: 0, factor: 1, maxMs: 0 },
    maxDeliveries: 2,
    ...options,
  })

function noting() {
  const calls: string[] = []
  return { calls, handler: ({ payload }: { payload: { id: string } }) => void calls.push(payload.id) }
}

const paid = (id: string, amount?: number): [string, string] => ['Paid', JSON.stringify({ id, amount })]
/** Published two hours ago. */
const old = (id: string): [string, string, string] => ['Paid', JSON.stringify({ id }), `${Date.now() - 2 * HOUR}-*`]

describe.each([
  { where: 'on a server', start: onServer },
  { where: 'in memory', start: inMemory },
])('promise 22: what is not for a group costs it nothing, $where', ({ start }) => {
  it('a type without a route is a dead letter by default, and ignored by option', async () => {
    const place = await start()
    const { calls, handler } = noting()
    await place.append(['Shipped', '{}'], paid('a'))

    expect(counts(await place.poll(billing(handler)))).toMatchObject({ read: 2, acked: 1, deadLettered: 1 })
    await place.append(['Shipped', '"a payload that no schema sees"'], ['__proto__', '{}'], paid('b'))
    expect(counts(await place.poll(billing(handler, { unrouted: 'ignore' })))).toMatchObject({
      read: 3,
      acked: 1,
      ignored: 2,
    })

    expect(calls).toEqual(['a', 'b'])
    expect(await place.letters()).toEqual([['unrouted', 'Shipped']])
    expect(await place.pending()).toBe(0)
  })

  it('what when answers false for is ignored, and it sees what the schema gave', async () => {
    const place = await start()
    const { calls, handler } = noting()
    const consumer = billing(handler, {}, {
      when: ({ payload }: { payload: { amount: number } }) => payload.amount > 4,
    } as never)
    await place.append(paid('a', 1), paid('b', 9), paid('c'), ['Paid', '{"amount":1}'])

    expect(counts(await place.poll(consumer))).toMatchObject({ read: 4, acked: 2, ignored: 1, deadLettered: 1 })

    expect(calls).toEqual(['b', 'c'])
    expect(await place.letters()).toEqual([['invalid', 'Paid']])
  })

  it.each<[answer: string, when: () => unknown, message: string]>([
    ['undefined', () => undefined, 'when of "Paid" must answer true or false, got undefined'],
    [
      'a promise',
      () => Promise.reject(new Error('nobody waits')),
      'when of "Paid" must answer true or false, got a promise',
    ],
    ['1', () => 1, 'when of "Paid" must answer true or false, got number'],
    [
      'an exception',
      () => {
        throw new Error('no such member')
      },
      'no such member',
    ],
  ])(
    'a when that answers %s is a failure of the entry: retried, then a dead letter',
    async (_answer, when, message) => {
      const place = await start()
      const { calls, handler } = noting()
      const told: string[] = []
      const onDeadLetter = ({ error, eventType }: { error?: { message: string }; eventType?: string }) =>
        void told.push(`${eventType}: ${error?.message}`)
      const consumer = billing(handler, { onDeadLetter } as never, { when } as never)
      await place.append(paid('a'))

      expect(counts(await place.poll(consumer))).toMatchObject({ read: 1, retried: 1 })
      expect(counts(await place.claim(consumer))).toMatchObject({ claimed: 1, deadLettered: 1 })

      expect(calls).toEqual([])
      expect(await place.letters()).toEqual([['max-deliveries', 'Paid']])
      expect(told).toEqual([`Paid: ${message}`])
    },
  )

  it('a when that throws NonRetryableError is a dead letter at once', async () => {
    const place = await start()
    const when = () => {
      throw new NonRetryableError('never')
    }
    await place.append(paid('a'))

    expect(counts(await place.poll(billing(() => {}, {}, { when })))).toMatchObject({ deadLettered: 1 })
    expect(await place.letters()).toEqual([['non-retryable', 'Paid']])
  })

  it('when leaves events out of a batch; an empty batch is no call', async () => {
    const place = await start()
    const batches: string[][] = []
    const handler = (events: readonly BatchEvent[]) =>
      void batches.push(events.map(({ payload }) => (payload as { id: string }).id))
    const wanted = { when: ({ payload }: { payload: { amount: number } }) => payload.amount > 1 }
    const consumer = billing(() => {}, { routes: [onBatch(Paid, handler as never, { ...wanted, maxEvents: 3 })] })
    await place.append(paid('a', 1), paid('b', 2), paid('c', 1), paid('d', 2))

    expect(counts(await place.poll(consumer))).toMatchObject({ read: 4, acked: 2, ignored: 2 })
    await place.append(paid('e', 1))
    expect(counts(await place.poll(consumer))).toMatchObject({ read: 1, ignored: 1 })

    expect(batches).toEqual([['b', 'd']])
  })

  it('when is asked beside an asynchronous schema, too', async () => {
    const place = await start()
    const { calls, handler } = noting()
    const Later = defineEvent('Paid', { payload: z.object({ id: z.string().check(z.refine(async () => true)) }) })
    const routes = [on(Later, handler, { when: ({ payload }) => payload.id !== 'a' })]
    await place.append(paid('a'), paid('b'))

    expect(counts(await place.poll(billing(() => {}, { routes })))).toMatchObject({ acked: 1, ignored: 1 })
    expect(calls).toEqual(['b'])
  })

  it('what matches no pattern is ignored before its type or payload is checked', async () => {
    const place = await start()
    const { calls, handler } = noting()
    const filter = filterPatterns([{ type: ['Paid', 'Refunded'], payload: { amount: [{ numeric: ['>', 1] }] } }])
    await place.append(['Shipped', '{}'], paid('a', 1), ['Paid', '{"amount":"2"}'], paid('b', 2), [
      'Refunded',
      '{"amount":3}',
    ])

    expect(counts(await place.poll(billing(handler, { filter })))).toMatchObject({
      read: 5,
      acked: 1,
      ignored: 3,
      deadLettered: 1,
    })

    expect(calls).toEqual(['b'])
    expect(await place.letters()).toEqual([['unrouted', 'Refunded']])
  })

  it('what is older than maxAgeMs is a dead letter, or ignored, without being decoded', async () => {
    const place = await start()
    const { calls, handler } = noting()
    const consumer = (options: Partial<ConsumerOptions>) => billing(handler, { maxAgeMs: HOUR, ...options })
    await place.append(old('a'), ['Paid', 'no JSON', old('')[2]], paid('b'))

    expect(counts(await place.poll(consumer({})))).toMatchObject({ read: 3, acked: 1, deadLettered: 2 })
    expect(await place.letters()).toEqual([
      ['expired', ''],
      ['expired', ''],
    ])
    expect(calls).toEqual(['b'])
  })

  it('the maxAgeMs of a route goes before that of its consumer', async () => {
    const place = await start()
    const { calls, handler } = noting()
    await place.append(old('a'))

    expect(counts(await place.poll(billing(handler, { maxAgeMs: HOUR }, { maxAgeMs: 3 * HOUR })))).toMatchObject({
      acked: 1,
    })
    expect(calls).toEqual(['a'])
  })

  it('of a type with a shorter maxAgeMs the dead letter says what it was', async () => {
    const place = await start()
    await place.append(old('a'))

    expect(counts(await place.poll(billing(() => {}, {}, { maxAgeMs: HOUR })))).toMatchObject({ deadLettered: 1 })
    expect(await place.letters()).toEqual([['expired', 'Paid']])
  })

  it('an expired entry is ignored where that is said', async () => {
    const place = await start()
    const { calls, handler } = noting()
    await place.append(old('a'), paid('b'))

    expect(counts(await place.poll(billing(handler, { maxAgeMs: HOUR, expired: 'ignore' })))).toMatchObject({
      acked: 1,
      ignored: 1,
    })
    expect(calls).toEqual(['b'])
    expect(await place.letters()).toEqual([])
  })

  it('what is ignored anyway does not become a dead letter by its age', async () => {
    const place = await start()
    await place.append(['Shipped', '{}', old('')[2]], old('a'))

    const report = await place.poll(billing(() => {}, { unrouted: 'ignore', maxAgeMs: HOUR }))

    expect(counts(report)).toMatchObject({ read: 2, ignored: 1, deadLettered: 1 })
    expect(await place.letters()).toEqual([['expired', 'Paid']])
  })

  it.each<[what: string, options: Partial<ConsumerOptions>, route: object, counted: object]>([
    [
      'unrouted',
      { unrouted: 'ignore', routes: [on(defineEvent('Other', { payload: z.any() }), () => {})] },
      {},
      { ignored: 1 },
    ],
    ['not wanted', {}, { when: () => false }, { ignored: 1 }],
    ['filtered out', { filter: filterPatterns([{ type: ['Other'] }]) }, {}, { ignored: 1 }],
    ['expired', { maxAgeMs: 30_000, expired: 'ignore' }, {}, { ignored: 1 }],
  ])('a claimed entry that is %s by now is not called either', async (_what, options, route, counted) => {
    const place = await start()
    const { calls, handler } = noting()
    const failing = billing(() => {
      throw new Error('no')
    })
    await place.append('expired' in options ? old('a') : paid('a'))
    await place.poll(failing)

    const report = await place.claim(billing(handler, options, route as RouteOptions))

    expect(counts(report)).toMatchObject({ claimed: 1, ...counted })
    expect(reportImbalance(report)).toBe(0)
    expect(calls).toEqual([])
    expect(await place.pending()).toBe(0)
  })
})

describe('an age', () => {
  it("goes by the server's clock, not by the function's", async () => {
    const { redis, raw } = await startScenario()
    const { calls, handler } = noting()
    const clock = { ...systemClock, now: () => Date.now() + 10 * HOUR }
    await raw.xadd('orders', '*', 'eventType', 'Paid', 'payload', '{"id":"a"}')

    await createPoller(billing(handler, { maxAgeMs: HOUR }), { redis, clock })()

    expect(calls).toEqual(['a'])
  })

  it.each(['99999999999999-0', '18446744073709551615-1'])('is none where the id is ahead, as %s', async (id) => {
    const { redis, raw } = await startScenario()
    const { calls, handler } = noting()
    await raw.xadd('orders', id, 'eventType', 'Paid', 'payload', '{"id":"a"}')

    await createPoller(billing(handler, { maxAgeMs: 1 }), { redis })()

    expect(calls).toEqual(['a'])
  })

  it('is known over REST, too', async () => {
    const { server, raw } = await startScenario()
    const rest = await startRestServer({ redisUrl: server.url, token: 'secret' })
    const redis = connect(rest.url.replace('://', '://:secret@'))
    onTestFinished(() => Promise.all([redis.close(), rest.close()]).then(() => {}))
    const { calls, handler } = noting()
    for (const [id, payload] of [
      [`${Date.now() - 2 * HOUR}-0`, '{"id":"a"}'],
      ['*', '{"id":"b"}'],
    ] as const)
      await raw.xadd('orders', id, 'eventType', 'Paid', 'payload', payload)

    const consumer = billing(handler, { maxAgeMs: HOUR })

    expect(counts(await createPoller(consumer, { redis })())).toMatchObject({ read: 2, acked: 1, deadLettered: 1 })
    expect(calls).toEqual(['b'])
  })

  it('is known without a request more, by one TIME per run', async () => {
    const { server, redis, raw, publish } = await startScenario()
    await publish('a')
    // a client that connects meanwhile would be seen before MONITOR itself is answered
    await raw.ping()
    const watch = await watchCommands(server.url)
    const trips = async (options: Partial<ConsumerOptions>) => {
      const from = (await watch.sent()).length
      const poll = await createPoller(
        billing(() => {}, options),
        { redis },
      )()
      const claimed = await claimOnce(
        billing(() => {}, options),
        { redis },
      )
      const sent = (await watch.sent()).slice(from).filter(([name]) => name === 'time').length
      return [poll.roundTrips, claimed.roundTrips, sent]
    }
    await trips({})

    const [without, withAge] = [await trips({}), await trips({ maxAgeMs: HOUR })]

    expect(without[2]).toBe(0)
    expect(withAge).toEqual([without[0], without[1], 2])
  })

  it('is that of an entry that waits for its retry, too', async () => {
    const { redis, raw, age, deadLetters } = await startScenario()
    const failing = () => {
      throw new Error('no')
    }
    await raw.xadd('orders', `${Date.now() - 2 * HOUR}-0`, 'eventType', 'Paid', 'payload', '{"id":"a"}')
    await createPoller(billing(failing), { redis })()
    await age(60_000)

    expect(counts(await createClaimer(billing(failing, { maxAgeMs: HOUR }), { redis, lingerMs: 0 })())).toMatchObject({
      deadLettered: 1,
    })
    const [letter] = await deadLetters()
    expect(letter?.head).toMatchObject({ reason: 'expired', errorName: 'ExpiredEntryError', deliveryCount: '2' })
  })
})

it('an age goes by the id, whatever the publisher says of when it occurred', async () => {
  const redis = connectMemory()
  const { calls, handler } = noting()
  await createPublisher({ stream: 'orders', redis }).publish(Paid, { id: 'a' }, { occurredAt: new Date(0) })

  await createPoller(billing(handler, { maxAgeMs: HOUR }), { redis })()

  expect(calls).toEqual(['a'])
})
