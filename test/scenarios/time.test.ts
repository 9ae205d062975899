import { setTimeout as delay } from 'node:timers/promises'
import { createPoller, createPublisher, poll } from 'millrace'
import { createVirtualClock, type VirtualClock } from 'millrace/testing'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { claimOnce } from '../support/claim-once.ts'
import {
  billing,
  counts,
  difference,
  lambdaContext,
  names,
  noting,
  OrderPaid,
  startScenario,
} from '../support/scenario.ts'

/** Ends after that many milliseconds of the clock, which goes on as soon as so many calls have started. */
function inRounds(clock: VirtualClock, calls: readonly string[], { atOnce, ms }: { atOnce: number; ms: number }) {
  const end = new Promise<void>((resolve) => void clock.after(ms, resolve))
  if (calls.length % atOnce === 0) void clock.advance(ms)
  return end
}

describe('promises 5 and 11: time', () => {
  it('a deadline in mid-batch releases what never started, at once and without costing a delivery', async () => {
    const { redis, publish, pending } = await startScenario()
    const orders = names('o', 20)
    const clock = createVirtualClock()
    const { calls, handler } = noting(() => inRounds(clock, calls, { atOnce: 2, ms: 60 }))
    const consumer = billing(handler, { concurrency: 2, handlerTimeoutMs: 200, reserveMs: 100 })
    const context = { ...lambdaContext(), getRemainingTimeInMillis: () => 500 }
    await publish(...orders)

    const report = await createPoller(consumer, { redis, clock })({}, context)

    // pairs start at 0, 60, 120 and 180 ms; from 200 ms on a handler could not be settled in time
    expect(calls).toEqual(orders.slice(0, 8))
    expect(counts(report)).toEqual({ read: 20, acked: 8, released: 12, batches: 1 })
    expect(await pending()).toEqual(orders.slice(8).map((order) => [order, 'parked', 0]))

    expect(counts(await claimOnce(consumer, { redis }))).toMatchObject({ claimed: 12, acked: 12 })
    expect(calls.toSorted()).toEqual(orders.toSorted())
  })

  it('an invocation too short for one handler fails at once, naming both limits', async () => {
    const { redis, publish } = await startScenario()
    const { calls, handler } = noting()
    await publish('a')

    await expect(createPoller(billing(handler), { redis })({}, lambdaContext(3_000))).rejects.toMatchObject({
      code: 'ERR_INVOCATION_TOO_SHORT',
      message: expect.stringMatching(/handlerTimeoutMs \(10000\) \+ reserveMs \(1000\), got [23]\d{3} ms/),
      report: { read: 0 },
    })
    expect(calls).toEqual([])
  })

  it('maxRunMs ends a drain before the stream is empty', async () => {
    const { redis, publish } = await startScenario()
    const clock = createVirtualClock()
    const { calls, handler } = noting(() => inRounds(clock, calls, { atOnce: 4, ms: 30 }))
    const orders = names('o', 40)
    await publish(...orders)

    const report = await poll(billing(handler, { batchSize: 4, concurrency: 4 }), { redis, clock, maxRunMs: 100 })

    expect(report).toMatchObject({ drained: false })
    expect([calls.length, difference(report)]).toEqual([16, 0])
  })

  it('mode once reads one batch', async () => {
    const { redis, publish } = await startScenario()
    const { calls, handler } = noting()
    await publish(...names('o', 7))

    expect(counts(await poll(billing(handler, { batchSize: 5 }), { redis, mode: 'once' }))).toEqual({
      read: 5,
      acked: 5,
      batches: 1,
    })
    expect(calls).toEqual(names('o', 5))
  })

  it('concurrency bounds the handlers that run side by side', async () => {
    const { redis, publish } = await startScenario()
    let running = 0
    let most = 0
    const consumer = billing(
      async () => {
        most = Math.max(most, ++running)
        await delay(2)
        running--
      },
      { concurrency: 3 },
    )
    await publish(...names('o', 20))

    await poll(consumer, { redis })

    expect(most).toBe(3)
  })

  it('a handler past handlerTimeoutMs has its signal aborted, and its entry is retried', async () => {
    const { redis, publish, pending } = await startScenario()
    const reasons: unknown[] = []
    const listening = billing(
      (_event, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            reasons.push(signal.reason.code)
            reject(signal.reason)
          })
        }),
      { handlerTimeoutMs: 50 },
    )
    await publish('a')

    expect(counts(await poll(listening, { redis }))).toEqual({ read: 1, retried: 1, batches: 1, drained: true })
    expect(reasons).toEqual(['ERR_HANDLER_TIMEOUT'])
    expect(await pending()).toEqual([['a', 'parked', 1]])
  })

  it('a handler that ignores its signal counts as overran, and does not delay the invocation', async () => {
    const { redis, publish } = await startScenario()
    await publish('a', 'b')
    const consumer = billing(() => new Promise(() => {}), { handlerTimeoutMs: 50, concurrency: 1 })

    expect(counts(await poll(consumer, { redis }))).toEqual({
      read: 2,
      retried: 2,
      overran: 2,
      batches: 1,
      drained: true,
    })
  })

  it('an aborted run starts nothing new, and settles what runs', async () => {
    const { redis, publish, pending } = await startScenario()
    const stop = new AbortController()
    const { calls, handler } = noting(() => {
      stop.abort()
      return delay(5)
    })
    await publish('a', 'b', 'c')

    const report = await poll(billing(handler, { concurrency: 1 }), { redis, signal: stop.signal })

    expect(counts(report)).toEqual({ read: 3, acked: 1, released: 2, batches: 1 })
    expect([calls, (await pending()).length]).toEqual([['a'], 2])
  })

  it('what a poller holds is renewed, so that a claimer leaves it alone', async () => {
    const { redis, raw, connect, publish } = await startScenario()
    const { calls, handler } = noting(() => held)
    let release = () => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    const consumer = billing(handler, {
      minIdleMs: 300,
      handlerTimeoutMs: 20_000,
      allowLongHandlers: true,
      concurrency: 1,
    })
    await publish('a', 'b')

    const polling = poll(consumer, { redis })
    while (calls.length === 0) await delay(1)
    const claims = []
    for (let waited = 0; waited < 900; waited += 100) {
      await delay(100)
      claims.push(counts(await claimOnce(consumer, { redis: connect() })))
    }
    expect(new Set(claims.map((claimed) => JSON.stringify(claimed)))).toEqual(new Set(['{"drained":true}']))
    expect(
      ((await raw.xpending('orders', 'billing', '-', '+', 9)) as [string, string, number, number][]).map(
        ([, , , count]) => count,
      ),
    ).toEqual([1, 1])
    release()
    expect(counts(await polling)).toEqual({ read: 2, acked: 2, batches: 1, drained: true })
  })

  it('a run leaves no timer behind', async () => {
    const { redis, publish } = await startScenario()
    const { handler } = noting(() => delay(1))
    await publish(...names('o', 10))
    const timers = () => process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout').length
    const before = timers()

    await poll(billing(handler), { redis })

    expect(timers()).toBeLessThanOrEqual(before)
  })
})

describe('a clock beyond any date', () => {
  it.each([Infinity, -Infinity, Number.NaN, 1e20])(
    'of %d costs no entry: published, handled, dead letter',
    async (ms) => {
      const clock = { ...systemClock, now: () => ms }
      const { redis, raw, pending, deadLetters } = await startScenario()
      await createPublisher({ stream: 'orders', redis, clock }).publish(OrderPaid, { orderId: 'a' })
      await raw.xadd('orders', '*', 'eventType', 'OrderPaid', 'payload', '{}')
      const { calls, handler } = noting()
      const report = await poll(billing(handler), { redis, clock })

      expect([calls, counts(report)]).toEqual([
        ['a'],
        { read: 2, acked: 1, deadLettered: 1, batches: 1, drained: true },
      ])
      expect(Object.values(report).filter((value) => typeof value === 'number' && !Number.isFinite(value))).toEqual([])
      expect([await pending(), (await deadLetters()).map(({ head }) => head.reason)]).toEqual([[], ['invalid']])
    },
  )
})
