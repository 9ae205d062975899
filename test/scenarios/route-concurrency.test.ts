import type { ConsumerOptions, Report, RouteOptions } from 'millrace'
import { createPublisher, defineConsumer, on, onBatch, poll } from 'millrace'
import { connectMemory, createVirtualClock } from 'millrace/testing'
import { describe, expect, it } from 'vitest'
import { describeEverywhere, Paid, Shipped } from '../policies/world.ts'
import { names } from '../support/scenario.ts'

type Kind = 'on' | 'onBatch'

/**
 * Group `billing`, whose Shipped waits until it is opened, as a dependency that is down would have it, and whose Paid goes on at once; it opens once so
 * many of Paid were called.
 */
function withSlowShipping(
  opensAfter: number,
  kind: Kind = 'on',
  route: RouteOptions = {},
  options: Partial<ConsumerOptions> = {},
) {
  const opened = Promise.withResolvers<void>()
  const seen = { slow: 0, slowAtOnce: 0, fast: 0, isFailing: false }
  let running = 0
  const slow = async () => {
    if (seen.isFailing) throw new Error('down')
    seen.slow++
    seen.slowAtOnce = Math.max(seen.slowAtOnce, ++running)
    await opened.promise
    running--
  }
  const fast = () => {
    if (seen.isFailing) throw new Error('down')
    if (++seen.fast >= opensAfter) opened.resolve()
  }
  const consumer = defineConsumer({
    stream: 'orders',
    group: 'billing',
    concurrency: 3,
    backoff: { firstMs: 0, maxMs: 0 },
    routes: [
      kind === 'on'
        ? on(Shipped, slow, { concurrency: 1, ...route })
        : onBatch(Shipped, slow, { maxEvents: 2, concurrency: 1, ...route }),
      on(Paid, fast),
    ],
    ...options,
  })
  return { consumer, seen, open: opened.resolve }
}

describeEverywhere("a route's concurrency", (start) => {
  describe.each<Kind>(['on', 'onBatch'])('of %s', (kind) => {
    it('lets others go past, of the same read', async () => {
      const world = await start()
      await world.publish(...names('s', 6), ...names('p', 6))
      const { consumer, seen } = withSlowShipping(6, kind)

      const report = await world.poll(consumer)

      expect(seen).toMatchObject({ fast: 6, slowAtOnce: 1 })
      expect(report).toMatchObject({ read: 12, acked: 12, failed: 0 })
    })

    it('has a poller read on while some wait', async () => {
      const world = await start()
      await world.publish(...names('s', 5), ...names('p', 6))
      const { consumer, seen } = withSlowShipping(6, kind, {}, { batchSize: 6 })

      expect(await world.poll(consumer)).toMatchObject({ read: 11, acked: 11, failed: 0 })
      expect(seen).toMatchObject({ fast: 6, slowAtOnce: 1 })
    })

    it('has a poller that listens read on while some wait', async () => {
      const world = await start()
      await world.publish(...names('s', 6), ...names('p', 6))
      const { consumer, seen } = withSlowShipping(6, kind, {}, { batchSize: 6, mode: 'listen' })

      const report = await poll(consumer, { redis: world.redis, lingerMs: 300, remainingMs: 20_000 })

      expect(report).toMatchObject({ read: 12, acked: 12, failed: 0 })
      expect(seen).toMatchObject({ fast: 6, slowAtOnce: 1 })
    })

    it('lets others go past in a claimer', async () => {
      const world = await start()
      await world.publish(...names('s', 8), ...names('p', 8))
      const { consumer, seen } = withSlowShipping(8, kind)
      seen.isFailing = true
      await world.poll(consumer)
      seen.isFailing = false
      await world.pass(100)

      const report = await world.claim(consumer)

      expect(seen).toMatchObject({ fast: 8, slowAtOnce: 1 })
      expect(report).toMatchObject({ claimed: 16, acked: 16, failed: 0 })
    })

    it('lets others go past in a poller that listens, new ones and retries', async () => {
      const world = await start()
      await world.publish(...names('s', 8), ...names('p', 8))
      const { consumer, seen } = withSlowShipping(16, kind, {}, { batchSize: 11 })
      seen.isFailing = true
      await world.poll(consumer)
      seen.isFailing = false
      await world.publish(...names('sn', 3), ...names('pn', 8))
      const stop = new AbortController()
      const polling = poll(consumer, {
        redis: world.redis,
        mode: 'listen',
        lingerMs: 500,
        remainingMs: 20_000,
        signal: stop.signal,
      })

      expect(await polling).toMatchObject({ failed: 0, acked: 27 })
      expect(seen).toMatchObject({ fast: 16, slowAtOnce: 1 })
    })
  })
})

/** A run in memory, on a clock of its own. */
async function run(
  work: (given: {
    redis: ReturnType<typeof connectMemory>
    clock: ReturnType<typeof createVirtualClock>
  }) => Promise<Report>,
) {
  const clock = createVirtualClock()
  const redis = connectMemory({ clock })
  const publisher = createPublisher({ stream: 'orders', redis, clock })
  for (const id of names('s', 4)) await publisher.publish(Shipped, { id })
  let isOver = false
  const ending = work({ redis, clock }).finally(() => {
    isOver = true
  })
  while (!isOver) await clock.advance(100)
  return { report: await ending, redis, clock }
}

describe("what waits for its route's concurrency", () => {
  it('and never starts is released at no delivery', async () => {
    const { consumer } = withSlowShipping(1, 'on', {}, { handlerTimeoutMs: 1_000, minIdleMs: 6_000 })

    const { report, redis } = await run((given) => poll(consumer, { ...given, remainingMs: 2_500 }))

    expect(report).toMatchObject({ read: 4, retried: 1, released: 3, overran: 1 })
    expect(redis.pending('orders', 'billing').map(({ deliveryCount }) => deliveryCount)).toEqual([1, 0, 0, 0])
  })

  it('takes the place of a call whose time is over', async () => {
    const { consumer, seen } = withSlowShipping(1, 'on', {}, { handlerTimeoutMs: 1_000, minIdleMs: 6_000 })

    await run((given) => poll(consumer, { ...given, remainingMs: 60_000, maxRunMs: 30_000 }))

    expect(seen.slow).toBe(4)
  })

  it.each<Kind>(['on', 'onBatch'])('costs a request and some timers a second at most, %s', async (kind) => {
    const { consumer, open } = withSlowShipping(1, kind, {}, { handlerTimeoutMs: 50_000, minIdleMs: 600_000 })

    let timers = 0
    const { report } = await run(({ redis, clock }) => {
      clock.after(30_000, open)
      const after: typeof clock.after = (...args) => {
        timers++
        return clock.after(...args)
      }
      return poll(consumer, { redis, clock: { ...clock, after }, remainingMs: 100_000 })
    })

    expect(report).toMatchObject({ acked: 4 })
    expect(report.roundTrips).toBeLessThan(40)
    expect(timers).toBeLessThan(150)
  })
})
