import fc from 'fast-check'
import type { BatchEvent, BatchHandler, BatchOptions, Connection, ConsumerOptions } from 'millrace'
import { createPublisher, defineConsumer, NonRetryableError, onBatch, poll, RetryAfterError } from 'millrace'
import { connectMemory, createVirtualClock, type VirtualClock } from 'millrace/testing'
import { describe, expect, it } from 'vitest'
import { counts, describeEverywhere, Paid, type World } from '../policies/world.ts'
import { type BothSides, bothSides } from '../support/both-sides.ts'
import { claimOnce } from '../support/claim-once.ts'

type Calls = (readonly BatchEvent[])[]

const idsOf = (events: readonly BatchEvent[]) => events.map(({ payload }) => (payload as { id: string }).id)
const countsOf = (calls: Calls) => calls.map((events) => [events.length, events[0]?.deliveryCount])

/** Group `billing` with a batch handler that throws where a poison event is among its events. */
function bisecting(
  calls: Calls,
  batch: BatchOptions = {},
  options: Partial<ConsumerOptions> = {},
  fail: (events: readonly BatchEvent[]) => unknown = () => Promise.reject(new Error('poison')),
) {
  const handler: BatchHandler = (events) => {
    calls.push(events)
    return idsOf(events).some((id) => id.startsWith('poison')) ? (fail(events) as Promise<void>) : undefined
  }
  const routes = [onBatch(Paid, handler as never, { bisectOnError: true, ...batch })]
  return defineConsumer({ stream: 'orders', group: 'billing', routes, backoff: { firstMs: 0 }, ...options })
}

async function untilDone(world: World, consumer: ReturnType<typeof bisecting>): Promise<void> {
  await world.poll(consumer)
  for (let round = 0; round < 20 && (await world.pending()).length > 0; round++) await world.claim(consumer)
}

describeEverywhere('bisectOnError', (start) => {
  it('has a failed batch come again in parts, at the last delivery one by one', async () => {
    const world = await start()
    const calls: Calls = []
    await world.publish('a', 'b', 'c', 'poison', 'e', 'f', 'g', 'h')

    await untilDone(world, bisecting(calls, { maxEvents: 8 }, { maxDeliveries: 3 }))

    expect(countsOf(calls)).toEqual([[8, 1], [4, 2], [4, 2], ...Array.from({ length: 4 }, () => [1, 3])])
    expect(await world.pending()).toEqual([])
  })

  it('keeps events of different delivery counts apart', async () => {
    const world = await start()
    const calls: Calls = []
    const consumer = bisecting(calls, { maxEvents: 4 }, { maxDeliveries: 4 })
    await world.publish('a', 'poison')
    await world.poll(consumer)
    await world.claim(consumer)
    await world.publish('b', 'c')
    await world.poll(consumer)

    for (const events of calls) expect(new Set(events.map(({ deliveryCount }) => deliveryCount)).size).toBe(1)
  })

  it('takes a NonRetryableError of one event for its, and one of several for a failure', async () => {
    const world = await start()
    const calls: Calls = []
    await world.publish('a', 'b', 'poison', 'd')
    const fatal = () => Promise.reject(new NonRetryableError('no'))

    await untilDone(world, bisecting(calls, { maxEvents: 4 }, { maxDeliveries: 5 }, fatal))

    expect(countsOf(calls)).toEqual([
      [4, 1],
      [2, 2],
      [2, 2],
      [1, 3],
      [1, 3],
    ])
  })

  it('believes an answer that names failures', async () => {
    const world = await start()
    const calls: Calls = []
    await world.publish('a', 'b', 'poison', 'd')
    const named = (events: readonly BatchEvent[]) => {
      const poison = events.find(({ payload }) => (payload as { id: string }).id === 'poison') as BatchEvent
      return { batchItemFailures: [{ itemIdentifier: poison.entryId, error: new NonRetryableError('no') }] }
    }

    const report = await world.poll(bisecting(calls, { maxEvents: 4 }, {}, named))

    expect(counts(report)).toEqual({ read: 4, acked: 3, deadLettered: 1, invoked: 4 })
  })
})

/** How poison fails. */
const FAILURES = {
  throws: () => Promise.reject(new Error('poison')),
  'wants its own wait': () => Promise.reject(new RetryAfterError(0)),
  'answers nonsense': () => 'no',
  'never ends': () => new Promise<void>(() => {}),
} as const

const scene = fc.record({
  /** A poller dies while its first handlers run. */
  dies: fc.boolean(),
  events: fc.array(fc.boolean(), { minLength: 1, maxLength: 24 }),
  /** After how many events the poller runs once. */
  pollEvery: fc.integer({ min: 1, max: 24 }),
  claimBetween: fc.boolean(),
  maxEvents: fc.integer({ min: 1, max: 12 }),
  maxBatchingWindowMs: fc.constantFrom(0, 0, 40),
  maxDeliveries: fc.integer({ min: 2, max: 6 }),
  concurrency: fc.integer({ min: 1, max: 8 }),
  batchSize: fc.integer({ min: 1, max: 30 }),
  mode: fc.constantFrom('drain' as const, 'listen' as const),
  failure: fc.constantFrom(...(Object.keys(FAILURES) as (keyof typeof FAILURES)[])),
})

type Scene = typeof scene extends fc.Arbitrary<infer T> ? T : never

describe('bisectOnError in any interleaving', () => {
  it('makes dead letters of the poison events only, each after maxDeliveries calls', async () => {
    await fc.assert(fc.asyncProperty(scene, play), { numRuns: 150 })
  }, 120_000)
})

async function play(given: Scene): Promise<void> {
  const { events, maxEvents, maxDeliveries, maxBatchingWindowMs, concurrency, batchSize, mode } = given
  const clock = createVirtualClock()
  const redis = connectMemory({ clock })
  const calls: Calls = []
  const times = { handlerTimeoutMs: 100, minIdleMs: 5_100, reserveMs: 100 }
  const settings = { maxDeliveries, concurrency, batchSize, mode, ...times }
  const consumer = bisecting(calls, { maxEvents, maxBatchingWindowMs }, settings, FAILURES[given.failure])
  const publisher = createPublisher({ stream: 'orders', redis, clock })
  const run = async (
    work: (options: { redis: typeof redis; clock: typeof clock; remainingMs: number }) => Promise<unknown>,
  ) => {
    let isOver = false
    const ending = work({ redis, clock, remainingMs: 3_000 }).finally(() => {
      isOver = true
    })
    while (!isOver) await clock.advance(50)
    await ending
  }
  const all = events.map((isPoison, n) => `${isPoison ? 'poison' : 'fine'}-${n}`)
  const ids = [...all]
  if (given.dies) {
    for (const id of ids.splice(0, 5)) await publisher.publish(Paid, { id })
    await die(redis, clock, (dying) =>
      bisecting(calls, { maxEvents }, { ...settings, mode: 'once' }, () => {
        dying()
        return new Promise(() => {})
      }),
    )
    await clock.advance(60_000)
  }
  for (const [n, id] of ids.entries()) {
    await publisher.publish(Paid, { id })
    if ((n + 1) % given.pollEvery !== 0) continue
    await run((options) => poll(consumer, options))
    if (given.claimBetween) await run((options) => claimOnce(consumer, options))
  }
  await run((options) => poll(consumer, options))
  for (let round = 0; round < 40 && redis.pending('orders', 'billing').length > 0; round++) {
    await clock.advance(6_000)
    await run((options) => claimOnce(consumer, options))
  }

  expect(redis.pending('orders', 'billing')).toEqual([])
  const poison = all.filter((id) => id.startsWith('poison'))
  const dead = redis
    .entries('{orders}:billing:dlq')
    .map(({ fields }) => fields.findLast(([name]) => name === 'payload')?.[1])
  expect(dead.map((payload) => (JSON.parse(payload as string) as { id: string }).id).toSorted()).toEqual(
    poison.toSorted(),
  )
  const called = calls.flatMap(idsOf)
  // what a dead process never called is one delivery poorer
  const fewest = given.dies ? maxDeliveries - 1 : maxDeliveries
  for (const id of poison) {
    const times = called.filter((one) => one === id).length
    expect(times).toBeGreaterThanOrEqual(fewest)
    expect(times).toBeLessThanOrEqual(maxDeliveries)
  }
  for (const batch of calls)
    for (const { deliveryCount } of batch) {
      const most = deliveryCount >= maxDeliveries ? 1 : Math.ceil(maxEvents / 2 ** (deliveryCount - 1))
      expect(batch.length).toBeLessThanOrEqual(most)
    }
  const fine = all.filter((id) => id.startsWith('fine'))
  const succeeded = calls.filter((batch) => !idsOf(batch).some((id) => id.startsWith('poison'))).flatMap(idsOf)
  // a process may die before it says that a batch succeeded
  expect(given.dies ? [...new Set(succeeded)].toSorted() : succeeded.toSorted()).toEqual(fine.toSorted())
}

/** A poller that dies in a handler, or else once nothing more happens by itself. */
async function die(
  redis: Connection,
  clock: VirtualClock,
  consumerOf: (dying: () => void) => ReturnType<typeof bisecting>,
): Promise<void> {
  let isDead = false
  const mortal = (both: BothSides) =>
    new Proxy(both, {
      get: (_target, name: keyof BothSides) => {
        const member = both[name]
        if (typeof member !== 'function') return member
        return (...args: never[]) =>
          isDead ? new Promise(() => {}) : (member as (...args: never[]) => unknown)(...args)
      },
    })
  const consumer = consumerOf(() => {
    isDead = true
  })
  const stopped = createVirtualClock({ startMs: clock.now() })
  void poll(consumer, {
    redis: { ...redis, group: (...args) => bothSides(redis.group(...args), mortal) },
    clock: stopped,
    remainingMs: 3_000,
  })
  await stopped.advance(0)
  isDead = true
}
