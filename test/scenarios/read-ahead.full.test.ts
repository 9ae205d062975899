import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { EventHandler, InvocationFailedError } from 'millrace'
import { on, orderedBy, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { describe, expect, it, onTestFinished } from 'vitest'
import { claimOnce } from '../support/claim-once.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import type { Scenario } from '../support/scenario.ts'
import { billing, counts, difference, names, noting, OrderPaid, startScenario } from '../support/scenario.ts'
import { startVictim } from '../support/start-victim.ts'

/** A server some milliseconds away, so that handlers are fast against a request; and how much was pending at most while one ran. */
async function startDistant(latencyMs = 5): Promise<Scenario & { most(): number; look(): Promise<void> }> {
  const scenario = await startScenario()
  const proxy = await startFaultProxy(scenario.server)
  proxy.latencyMs = latencyMs
  onTestFinished(() => proxy.close())
  let most = 0
  return {
    ...scenario,
    redis: scenario.connect(proxy.url),
    most: () => most,
    async look() {
      const [pending] = (await scenario.raw.xpending('orders', 'billing')) as [number]
      most = Math.max(most, pending)
      await delay(5)
    },
  }
}

describe('reading ahead', () => {
  it.each([
    ['', []],
    [', also in order', [orderedBy(({ eventId }) => eventId)]],
  ])('has one further batch under way while handlers run, and no more%s', async (_how, use) => {
    const { redis, publish, most, look } = await startDistant()
    const { calls, handler } = noting(look)
    await publish(...names('o', 60))

    const report = await poll(billing(handler, { batchSize: 10, concurrency: 10, use }), { redis })

    expect([calls.length, most()]).toEqual([60, 20])
    expect(counts(report)).toEqual({ read: 60, acked: 60, batches: 6, drained: true })
  })

  it.each([
    ['a death would use up the only delivery of two batches', { maxDeliveries: 1 }, () => {}],
    ['handlers are slow', {}, () => delay(600)],
  ])('does not where %s', async (_why, settings, then) => {
    const { redis, publish, most, look } = await startDistant()
    const { handler } = noting(async () => {
      await look()
      await then()
    })
    await publish(...names('o', 40))

    const report = await poll(billing(handler, { batchSize: 10, concurrency: 10, ...settings }), { redis })

    expect([report.acked, most()]).toEqual([40, 10])
  })

  it('does not where a death would use up the only delivery that one route has', async () => {
    const { redis, publish, most, look } = await startDistant()
    const { handler } = noting(look)
    await publish(...names('o', 40))
    const routes = [on(OrderPaid, handler as EventHandler, { maxDeliveries: 1 })]

    const report = await poll(billing(handler, { batchSize: 10, concurrency: 10, routes }), { redis })

    expect([report.acked, most()]).toEqual([40, 10])
  })

  it('releases what it read ahead and never started, at no delivery', async () => {
    const { redis, publish, pending, look } = await startDistant()
    const stop = new AbortController()
    const { calls, handler } = noting(async () => {
      await look()
      if (calls.length === 30) stop.abort()
    })
    const orders = names('o', 100)
    await publish(...orders)

    const report = await poll(billing(handler, { batchSize: 10, concurrency: 10 }), { redis, signal: stop.signal })

    expect(counts(report)).toEqual({ read: 40, acked: 30, released: 10, batches: 4 })
    expect(await pending()).toEqual(orders.slice(30, 40).map((order) => [order, 'parked', 0]))
  })

  it('leaves at most two batches to a claimer where the process dies, and loses none', async () => {
    const { server, redis, raw, publish, age, pending } = await startScenario()
    const proxy = await startFaultProxy(server)
    onTestFinished(() => proxy.close())
    proxy.latencyMs = 25
    const orders = names('o', 100)
    const ids = await publish(...orders)
    const options = { batchSize: 10, concurrency: 10 }
    const victim = startVictim({ url: proxy.url, action: 'poll', options, poison: 'o55', death: 'loop' })
    await victim.poisoned
    // its read ahead is under way before the handlers of the batch in hand start; the proxy has it for a while
    while ((await lastPending(raw)) !== ids[69]) await delay(5)
    await victim.kill()

    expect((await pending()).map(([order]) => order)).toEqual(orders.slice(50, 70))
    await age(60_000)
    const { calls, handler } = noting()
    const report = await claimOnce(billing(handler, options), { redis })
    expect([report.acked, calls.toSorted(), await pending()]).toEqual([20, orders.slice(50, 70), []])
  })

  it('whose reply is lost ends the run once what runs is settled, and costs nothing', async () => {
    const scenario = await startScenario()
    const proxy = await startFaultProxy(scenario.server)
    onTestFinished(() => proxy.close())
    proxy.latencyMs = 5
    const redis = connectIoredis(proxy.url, { commandTimeout: 300 })
    onTestFinished(() => redis.close())
    const { calls, handler } = noting(async () => {
      if (calls.length === 25) proxy.freezeLinks()
      await delay(5)
    })
    const orders = names('o', 100)
    await scenario.publish(...orders)
    const consumer = billing(handler, { batchSize: 10, concurrency: 10 })

    const [failure] = await Promise.allSettled([poll(consumer, { redis })])

    const { report } = (failure as PromiseRejectedResult).reason as InvocationFailedError
    expect([difference(report), report.acked]).toEqual([0, 30])
    await poll(consumer, { redis: scenario.redis })
    await scenario.age(60_000)
    await claimOnce(consumer, { redis: scenario.redis })
    expect(new Set(calls)).toEqual(new Set(orders))
    expect(await scenario.pending()).toEqual([])
  })
})

/** The highest id that is pending. */
async function lastPending(raw: Redis): Promise<string> {
  const [, , highest] = (await raw.xpending('orders', 'billing')) as [number, string, string]
  return highest
}
