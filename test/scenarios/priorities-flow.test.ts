import { setTimeout as delay } from 'node:timers/promises'
import type { Connection, ConsumerSetOptions, EventOf } from 'millrace'
import {
  circuitBreaker,
  concurrencyLimit,
  createPublisher,
  defineConsumer,
  defineEvent,
  on,
  onBatch,
  poll,
  prioritized,
  rateLimit,
} from 'millrace'
import { closeBreakers, diagnose, inspectStreams, openBreakers } from 'millrace/operate'
import { describe, expect, it } from 'vitest'
import * as z from 'zod/mini'
import { claimOnce } from '../support/claim-once.ts'
import { PLACES } from '../support/places.ts'
import { startScenario } from '../support/scenario.ts'

const Job = defineEvent('Job', { payload: z.object({ id: z.string() }) })
const Other = defineEvent('Other', { payload: z.object({ id: z.string() }) })
const jobs = prioritized('jobs', ['high', 'normal', 'low'])
const PRIORITIES = ['high', 'normal', 'low'] as const
type Handler = (event: EventOf<typeof Job> | EventOf<typeof Other>) => unknown

type RouteRules = Parameters<typeof on<typeof Job>>[2]

function aGroup(
  redis: Connection,
  handler: Handler,
  { route, ...options }: Partial<ConsumerSetOptions> & { readonly route?: RouteRules } = {},
) {
  const consumers = defineConsumer({
    stream: jobs,
    group: 'work',
    routes: [on(Job, handler, route), on(Other, handler)],
    ...options,
  })
  const publisher = createPublisher({ stream: jobs, redis })
  const publish = (priority: string, ...ids: string[]) =>
    publisher.publishMany(ids.map((id) => [id.startsWith('o') ? Other : Job, { id }, { priority }] as const))
  return { consumers, publish }
}

const many = (name: string, count: number) => Array.from({ length: count }, (_, n) => `${name}${n}`)

/** A handler that notes how many of it run side by side. */
function counting(ms: number) {
  const seen = { most: 0, running: 0 }
  const handler: Handler = async () => {
    seen.most = Math.max(seen.most, ++seen.running)
    await delay(ms)
    seen.running--
  }
  return { seen, handler }
}

describe.each(PLACES)('flow control of a set over %s', (_name, start) => {
  it("counts a route's concurrency over all streams, and lets other routes by", async () => {
    const redis = await start()
    const { seen, handler } = counting(3)
    const others: string[] = []
    const { consumers, publish } = aGroup(
      redis,
      (event) => (event.type === 'Job' ? handler(event) : others.push(event.payload.id)),
      { route: { concurrency: 2 }, concurrency: 8 },
    )
    for (const priority of PRIORITIES) await publish(priority, ...many(priority[0] === 'n' ? 'n' : priority, 8), 'o')

    const report = await poll(consumers, { redis })

    expect([seen.most, report.acked, others.length]).toEqual([2, 27, 3])
  })

  it("counts a batch route's concurrency over all streams", async () => {
    const redis = await start()
    const { seen, handler } = counting(5)
    const consumers = defineConsumer({
      stream: jobs,
      group: 'work',
      routes: [onBatch(Job, async ([event]) => void (await handler(event as never)), { maxEvents: 2, concurrency: 1 })],
      concurrency: 6,
    })
    const { publish } = aGroup(redis, () => {})
    for (const priority of PRIORITIES) await publish(priority, ...many(priority, 6))

    const report = await poll(consumers, { redis })

    expect([seen.most, report.acked]).toEqual([1, 18])
  })

  it('shares the places of a concurrency limit among the streams', async () => {
    const redis = await start()
    const { seen, handler } = counting(5)
    const { consumers, publish } = aGroup(redis, handler, { route: { use: [concurrencyLimit({ max: 1 })] } })
    for (const priority of PRIORITIES) await publish(priority, ...many(priority, 4))

    const report = await poll(consumers, { redis })
    let acked = report.acked
    for (let round = 0; round < 20 && acked < 12; round++) acked += (await claimOnce(consumers, { redis })).acked

    expect([seen.most, acked]).toEqual([1, 12])
  })

  it('shares the turns of a rate limit among the streams', async () => {
    const redis = await start()
    const starts: number[] = []
    const { consumers, publish } = aGroup(redis, () => starts.push(performance.now()), {
      route: { use: [rateLimit({ max: 4, perMs: 400 })] },
    })
    for (const priority of PRIORITIES) await publish(priority, ...many(priority, 4))

    const report = await poll(consumers, { redis })

    const apart = starts.slice(4).map((at, n) => at - (starts[n] as number))
    expect(report).toMatchObject({ acked: 12, drained: true })
    // timers are early by less than a millisecond
    expect(Math.min(...apart)).toBeGreaterThan(398)
  })

  it('opens one circuit breaker for all streams, and closes it for all', async () => {
    const redis = await start()
    const calls: string[] = []
    const { consumers, publish } = aGroup(
      redis,
      ({ payload: { id } }) => {
        calls.push(id)
        if (!id.startsWith('o')) throw new Error('out')
      },
      {
        route: { use: [circuitBreaker({ failures: 3, perMs: 60_000, probeAfterMs: 60_000 })] },
        concurrency: 1,
        backoff: { firstMs: 0 },
      },
    )
    for (const priority of PRIORITIES) await publish(priority, ...many(priority[0] as string, 3), 'o')

    const report = await poll(consumers, { redis })

    expect(calls.filter((id) => !id.startsWith('o'))).toHaveLength(3)
    expect(report).toMatchObject({ acked: 3, retried: 2, parked: 7, circuitOpen: 7 })
    expect((await openBreakers(consumers, { redis })).map(({ eventType }) => eventType)).toEqual(['Job'])
    expect(await closeBreakers(consumers, { redis })).toHaveLength(1)
    expect(await openBreakers({ stream: '{jobs}:', group: 'work' }, { redis })).toEqual([])
  })

  it('probes an open circuit breaker with one entry of one stream, and takes up all streams', async () => {
    const redis = await start()
    let isOut = true
    const calls: string[] = []
    const { consumers, publish } = aGroup(
      redis,
      ({ payload: { id } }) => {
        calls.push(id)
        if (isOut) throw new Error('out')
      },
      {
        route: { use: [circuitBreaker({ failures: 1, perMs: 60_000, probeAfterMs: 1_500 })] },
        concurrency: 1,
        backoff: { firstMs: 0 },
      },
    )
    for (const priority of PRIORITIES) await publish(priority, ...many(priority, 2))
    await poll(consumers, { redis })
    expect(calls).toHaveLength(1)

    await delay(1_600)
    await claimOnce(consumers, { redis })
    expect(calls).toHaveLength(2)

    isOut = false
    for (let round = 0; round < 40 && calls.length < 8; round++) {
      await delay(100)
      await claimOnce(consumers, { redis })
    }
    expect(new Set(calls.slice(2))).toEqual(new Set(PRIORITIES.flatMap((priority) => many(priority, 2))))
    expect(await openBreakers(consumers, { redis })).toEqual([])
  })

  it('starts a higher priority under a limit beside a flood of a lower one', async () => {
    const redis = await start()
    const calls: string[] = []
    const { consumers, publish } = aGroup(
      redis,
      async ({ payload: { id } }) => {
        calls.push(id)
        await delay(2)
      },
      { route: { use: [concurrencyLimit({ max: 2 })] }, concurrency: 2, batchSize: 100 },
    )
    await publish('low', ...many('o', 100))
    await publish('high', ...many('h', 20))

    const report = await poll(consumers, { redis })

    expect(report).toMatchObject({ acked: 120, drained: true })
    expect(calls.slice(0, 80).filter((id) => id.startsWith('h')).length).toBeGreaterThanOrEqual(15)
  })

  it.each([
    [
      'single events',
      (work: (id: string) => Promise<void>) => on(Job, (event) => work(event.payload.id), { concurrency: 1 }),
    ],
    [
      'batches',
      (work: (id: string) => Promise<void>) =>
        onBatch(Job, async (events) => void (await Promise.all(events.map(({ payload }) => work(payload.id)))), {
          concurrency: 1,
          maxEvents: 2,
        }),
    ],
  ])('starts %s of a route with its own concurrency by weight', async (_what, routeOf) => {
    const redis = await start()
    const calls: string[] = []
    const { publish } = aGroup(redis, () => {})
    const work = async (id: string) => {
      calls.push(id)
      await delay(2)
    }
    const consumers = defineConsumer({
      stream: jobs,
      group: 'work',
      routes: [routeOf(work), on(Other, ({ payload }) => work(payload.id))],
      concurrency: 2,
      batchSize: 200,
    })
    await publish('low', ...many('l', 60))
    await publish('high', ...many('h', 60))

    const report = await poll(consumers, { redis })

    const low = calls.slice(0, 60).filter((id) => id.startsWith('l')).length
    expect(report).toMatchObject({ acked: 120, drained: true })
    // a fifth is its share beside high alone: 1 of 4 + 1
    expect(low).toBeGreaterThanOrEqual(6)
    expect(low).toBeLessThanOrEqual(24)
  })

  it('goes on with all streams once a circuit breaker has counted a failure', async () => {
    const redis = await start()
    const calls: string[] = []
    const { consumers, publish } = aGroup(
      redis,
      async ({ payload: { id } }) => {
        calls.push(id)
        await delay(5)
        throw new Error('out')
      },
      {
        route: { use: [circuitBreaker({ failures: 100, perMs: 60_000, probeAfterMs: 60_000 })] },
        concurrency: 2,
        backoff: { firstMs: 0 },
      },
    )
    for (const priority of PRIORITIES) await publish(priority, priority)
    await poll(consumers, { redis })

    const at = performance.now()
    await claimOnce(consumers, { redis, remainingMs: 30_000 })

    expect(calls).toHaveLength(6)
    expect(performance.now() - at).toBeLessThan(5_000)
  })
})

it('failures of entries with the same id on two streams of a set are two', async () => {
  const { redis, raw } = await startScenario()
  const { consumers, publish } = aGroup(
    redis,
    () => {
      throw new Error('out')
    },
    { route: { use: [circuitBreaker({ failures: 2, perMs: 60_000, probeAfterMs: 60_000 })] }, concurrency: 1 },
  )
  await publish('high', 'a')
  const [[id, fields]] = (await raw.xrange('{jobs}:high', '-', '+')) as [[string, string[]]]
  await raw.xadd('{jobs}:low', id, ...fields)

  await poll(consumers, { redis })

  expect(await openBreakers(consumers, { redis })).toHaveLength(1)
  expect(await raw.keys('*:breakers')).toEqual(['{jobs}::work:breakers'])
})

it('status and a doctor know the circuit breaker of a set by each of its streams', async () => {
  const { redis } = await startScenario()
  const { consumers, publish } = aGroup(
    redis,
    () => {
      throw new Error('out')
    },
    { route: { use: [circuitBreaker({ failures: 1, perMs: 60_000, probeAfterMs: 60_000 })] }, concurrency: 1 },
  )
  for (const priority of PRIORITIES) await publish(priority, ...many(priority, 2))
  await poll(consumers, { redis })

  const byModule = await inspectStreams({ redis, consumers: [consumers] })
  const byName = await inspectStreams({ redis, sets: [jobs], group: 'work' })

  for (const { streams } of [byModule, byName]) {
    const breakers = streams.map(({ groups }) => groups[0]?.flow?.breakers?.[0])
    expect(breakers.map((one) => one?.eventType)).toEqual(['Job', 'Job', 'Job'])
    expect(breakers.reduce((sum, one) => sum + (one?.waiting ?? 0), 0)).toBe(6)
  }
})

it('a doctor says how to close the circuit breaker of a set', async () => {
  const { redis } = await startScenario()
  const { consumers, publish } = aGroup(
    redis,
    () => {
      throw new Error('out')
    },
    { route: { use: [circuitBreaker({ failures: 1, perMs: 60_000, probeAfterMs: 60_000 })] } },
  )
  await publish('low', 'a')
  await poll(consumers, { redis })

  const findings = await diagnose(consumers, { redis })

  const [first] = findings.filter(({ check }) => check === 'circuit-breaker')
  expect(first?.fix).toContain('millrace resume jobs work --breaker --type Job --priorities high,normal,low')
})
