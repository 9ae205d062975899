import { setTimeout as delay } from 'node:timers/promises'
import type { Codec, Connection, Consumer, ConsumerOptions, EventHandler, HandlerContext, RouteOptions } from 'millrace'
import { createPublisher, defineConsumer, envelopeCodec, idempotent, on, poll, RedisConnectionError } from 'millrace'
import { connectMemory, createVirtualClock } from 'millrace/testing'
import { describe, expect, it } from 'vitest'
import type { World } from '../policies/world.ts'
import { describeEverywhere, Paid, Shipped } from '../policies/world.ts'
import { bothSides } from '../support/both-sides.ts'
import { names } from '../support/scenario.ts'

type Calls = { id: string; context: HandlerContext }[]

/** Group `billing`, whose handlers note their calls and fail. */
function failing(
  calls: Calls,
  of: { paid?: RouteOptions; shipped?: RouteOptions },
  options: Partial<ConsumerOptions> = {},
  handle: (id: string) => unknown = () => Promise.reject(new Error('down')),
): Consumer {
  const handler: EventHandler<never> = (event, context) => {
    const { id } = (event as { payload: { id: string } }).payload
    calls.push({ id, context })
    return handle(id)
  }
  return defineConsumer({
    stream: 'orders',
    group: 'billing',
    maxDeliveries: 4,
    backoff: { firstMs: 0, maxMs: 0 },
    routes: [on(Paid, handler as never, of.paid), on(Shipped, handler as never, of.shipped)],
    ...options,
  })
}

const callsOf = (calls: Calls, id: string) => calls.filter((call) => call.id === id).length

async function untilDone(world: World, work: () => Promise<unknown>): Promise<void> {
  for (let round = 0; round < 12 && (await world.pending()).length > 0; round++) {
    await world.pass(100)
    await work()
  }
  expect(await world.pending()).toEqual([])
}

/** How many dead letters there are. */
const letters = async ({ redis }: World, consumer: Consumer) =>
  (await redis.group(consumer).measure())?.backlog.deadLetters

/** Its server does not know which field has the type. */
const withoutTypeField: Codec = { decode: (fields, entryId) => envelopeCodec.decode(fields, entryId) }

describeEverywhere("a route's maxDeliveries (promise 2)", (start) => {
  it.each([
    ['where a field has the type', envelopeCodec],
    ['where the codec alone knows the type', withoutTypeField],
  ])('is how often it is called, fewer or more than the consumer says, %s', async (_where, codec) => {
    const world = await start()
    const calls: Calls = []
    const consumer = failing(calls, { paid: { maxDeliveries: 2 }, shipped: { maxDeliveries: 7 } }, { codec })
    await world.publish('p', 's')
    await world.poll(consumer)

    await untilDone(world, () => world.claim(consumer))

    expect([callsOf(calls, 'p'), callsOf(calls, 's')]).toEqual([2, 7])
    expect(await letters(world, consumer)).toBe(2)
    expect(new Set(calls.map(({ id, context }) => `${id} ${context.maxDeliveries}`))).toEqual(new Set(['p 2', 's 7']))
  })

  it('is how often a poller that listens calls it', async () => {
    const world = await start()
    const calls: Calls = []
    const consumer = failing(calls, { paid: { maxDeliveries: 2 }, shipped: { maxDeliveries: 7 } })
    await world.publish('p0', 'p1', 's0', 's1')
    await world.poll(consumer)

    await untilDone(world, () => poll(consumer, { redis: world.redis, lingerMs: 400, remainingMs: 20_000 }))

    expect(['p0', 'p1', 's0', 's1'].map((id) => callsOf(calls, id))).toEqual([2, 2, 7, 7])
  })

  it.each(['claimer', 'listening poller'])(
    'has its last delivery alone, others beside each other, in a %s',
    async (kind) => {
      const world = await start()
      const calls: Calls = []
      let running = 0
      const atOnce = { p: [] as number[], s: [] as number[] }
      const stop = new AbortController()
      const consumer = failing(calls, { paid: { maxDeliveries: 2 }, shipped: { maxDeliveries: 6 } }, {}, async (id) => {
        running++
        await delay(20)
        if (calls.at(-1)?.context.deliveryCount !== 1) atOnce[id.at(0) as 'p' | 's'].push(running)
        running--
        if (atOnce.p.length === 3) stop.abort()
        throw new Error('down')
      })
      await world.publish(...names('p', 3), ...names('s', 3))
      await world.poll(consumer)
      calls.length = 0
      await world.pass(100)

      if (kind === 'claimer') await world.claim(consumer)
      else await poll(consumer, { redis: world.redis, mode: 'listen', remainingMs: 20_000, signal: stop.signal })

      expect(atOnce.p).toEqual([1, 1, 1])
      expect(Math.max(...atOnce.s)).toBe(3)
    },
  )

  it('decides about what a dead process left', async () => {
    const world = await start()
    const calls: Calls = []
    const consumer = failing(calls, { paid: { maxDeliveries: 1 }, shipped: { maxDeliveries: 3 } })
    await world.publish('p', 's')
    const group = world.redis.group(consumer)
    const slot = await group.takeSlot('poller', 4, 1)
    await group.settleAndRead(slot as never, [], { count: 10, maxPending: 100 })

    await world.pass(120_000)
    const report = await world.claim(consumer)

    expect([callsOf(calls, 'p'), callsOf(calls, 's')]).toEqual([0, 1])
    expect(report).toMatchObject({ claimed: 2, deadLettered: 1, retried: 1 })
    expect(await letters(world, consumer)).toBe(1)
    expect(await world.pending()).toEqual([['s', 'parked', 2]])
  })

  it.each(['claimer', 'listening poller'])(
    'gives back what a %s could not ask the type of, at no delivery',
    async (kind) => {
      const world = await start()
      const calls: Calls = []
      const consumer = failing(calls, { paid: { maxDeliveries: 2 }, shipped: { maxDeliveries: 7 } })
      await world.publish('p', 's')
      await world.poll(consumer)
      await world.pass(100)
      let lost = 0
      const redis: Connection = {
        ...world.redis,
        group: (...address) =>
          bothSides(world.redis.group(...address), ({ peek }) => ({
            peek: async (...args) => {
              if (lost++ === 0) throw new RedisConnectionError('the answer was lost')
              return peek(...args)
            },
          })),
      }

      if (kind === 'claimer') {
        await expect(world.claim(consumer, { redis })).rejects.toThrow('the answer was lost')
        expect((await world.pending()).map(([id, , count]) => [id, count])).toEqual([
          ['p', 1],
          ['s', 1],
        ])
        await untilDone(world, () => world.claim(consumer, { redis }))
      } else await untilDone(world, () => poll(consumer, { redis, lingerMs: 400, remainingMs: 20_000 }).catch(() => {}))

      expect(lost).toBeGreaterThan(1)
      expect([callsOf(calls, 'p'), callsOf(calls, 's')]).toEqual([2, 7])
    },
  )
})

describeEverywhere("a route's backoff", (start) => {
  it('is its own timer, the rest the consumer decides', async () => {
    const world = await start()
    const calls: Calls = []
    const backoff = { firstMs: 60_000, maxMs: 120_000 }
    const consumer = failing(calls, { paid: { backoff: { firstMs: 0 } } }, { backoff })
    await world.publish('p', 's')
    await world.poll(consumer)

    await world.claim(consumer)
    expect([callsOf(calls, 'p'), callsOf(calls, 's')]).toEqual([2, 1])
    await world.pass(80_000)
    await world.claim(consumer)
    expect(callsOf(calls, 's')).toBe(2)
  })
})

/** A poller in memory on a clock of its own, until it is over. */
async function pollInMemory(consumer: Consumer, ids: readonly string[], remainingMs: number) {
  const clock = createVirtualClock()
  const redis = connectMemory({ clock })
  const publisher = createPublisher({ stream: 'orders', redis, clock })
  for (const id of ids) await publisher.publish(id.startsWith('s') ? Shipped : Paid, { id })
  let isOver = false
  const startedAt = clock.now()
  const ending = poll(consumer, { redis, clock, remainingMs }).finally(() => {
    isOver = true
  })
  ending.catch(() => {})
  while (!isOver) await clock.advance(10)
  return { report: await ending, redis, tookMs: clock.now() - startedAt }
}

describe("a route's handlerTimeoutMs", () => {
  it('ends its handlers, and no others', async () => {
    const calls: Calls = []
    const consumer = failing(
      calls,
      { paid: { handlerTimeoutMs: 100, maxDeliveries: 1 }, shipped: { handlerTimeoutMs: 900, maxDeliveries: 1 } },
      { handlerTimeoutMs: 400, minIdleMs: 6_000 },
      () => new Promise(() => {}),
    )

    const { report, redis, tookMs } = await pollInMemory(consumer, ['p', 's'], 10_000)

    expect(calls.map(({ context }) => context.signal.aborted)).toEqual([true, true])
    expect(report).toMatchObject({ overran: 2, deadLettered: 2 })
    expect(tookMs).toBeLessThan(1_000)
    const errors = redis.entries('{orders}:billing:dlq').map(({ fields }) => Object.fromEntries(fields).errorMessage)
    expect(errors).toEqual([expect.stringContaining('100 ms'), expect.stringContaining('900 ms')])
  })

  it('and the reserve are left where a handler starts, else it is released (promise 11)', async () => {
    const calls: Calls = []
    const consumer = failing(
      calls,
      { shipped: { handlerTimeoutMs: 3_000 } },
      { handlerTimeoutMs: 1_000, minIdleMs: 8_000, reserveMs: 100, concurrency: 1 },
      (id) => (id === 'p0' ? new Promise(() => {}) : undefined),
    )

    const { redis } = await pollInMemory(consumer, ['p0', 's', 'p1'], 3_200)

    expect(calls.map(({ id }) => id)).toEqual(['p0', 'p1'])
    expect(redis.pending('orders', 'billing').map(({ deliveryCount }) => deliveryCount)).toEqual([1, 0])
  })

  it('is named where an invocation is too short for it', async () => {
    const consumer = failing([], { shipped: { handlerTimeoutMs: 30_000 } })

    await expect(pollInMemory(consumer, [], 30_500)).rejects.toThrow(
      'the invocation\'s time must be at least handlerTimeoutMs of "Shipped" (30000) + reserveMs (1000), got 30500 ms',
    )
  })

  it('is enough where all routes take less than the consumer says', async () => {
    const own = { handlerTimeoutMs: 1_000 }
    const consumer = failing([], { paid: own, shipped: own }, {}, () => {})

    expect((await pollInMemory(consumer, ['p', 's'], 3_000)).report).toMatchObject({ acked: 2 })
  })
})

describe('idempotent()', () => {
  it.each<[refused: string, options: RouteOptions]>([
    ['maxDeliveries', { maxDeliveries: 50 }],
    ['handlerTimeoutMs', { handlerTimeoutMs: 50_000 }],
    ['backoff', { backoff: { firstMs: 50_000, maxMs: 60_000 } }],
  ])('outlasts the retries of each route: %s', (_what, options) => {
    const use = [idempotent({ ttlMs: 60_000 })]

    expect(() => failing([], { shipped: options }, { use })).toThrow('ttlMs must be >= the time that retries')
    expect(() => failing([], { paid: options, shipped: { use } })).not.toThrow()
    expect(() => failing([], { shipped: { ...options, use } })).toThrow('ttlMs must be >= the time that retries')
  })
})
