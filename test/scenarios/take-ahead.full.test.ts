import { setTimeout as delay } from 'node:timers/promises'
import type { Connection, ConsumerOptions, EventHandler, InvocationFailedError, Report } from 'millrace'
import { defineEvent, definePolicy, on, onBatch, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { describe, expect, it, onTestFinished } from 'vitest'
import * as z from 'zod/mini'
import { takeSetAsideScript } from '../../dist/group/redis/scripts/take.js'
import { evalsha } from '../../src/group/redis/scripts/script.ts'
import { bothSides } from '../support/both-sides.ts'
import { claimOnce } from '../support/claim-once.ts'
import type { FaultProxy } from '../support/fault-proxy.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import type { Scenario } from '../support/scenario.ts'
import { billing, difference, names, noting, OrderPaid, startScenario } from '../support/scenario.ts'
import { startVictim } from '../support/start-victim.ts'

/** Orders that have all failed once and are due, on a server some milliseconds away, so that handlers are fast against a request. */
async function startFailed(
  count: number,
  options: Partial<ConsumerOptions> = {},
): Promise<Scenario & { readonly proxy: FaultProxy; readonly orders: string[] }> {
  const scenario = await startScenario()
  const proxy = await startFaultProxy(scenario.server)
  proxy.latencyMs = 5
  onTestFinished(() => proxy.close())
  const orders = names('o', count)
  await scenario.publish(...orders)
  const fail = () => Promise.reject(new Error('no'))
  await poll(billing(fail, { backoff: { firstMs: 0 }, ...options }), { redis: scenario.redis })
  return { ...scenario, proxy, orders }
}

/** Takes of a run: how many are under way, at most, and how many entries were taken and are not settled. */
interface Seen {
  underWay: number
  taken: number
}

/** A connection that sees takes. @param before Called with the number of each take before it is sent. */
function watching(redis: Connection, seen: Seen, before: (n: number) => void = () => {}): Connection {
  let underWay = 0
  let taken = 0
  let n = 0
  return {
    ...redis,
    group: (...address) =>
      bothSides(redis.group(...address), (group) => ({
        settle: (slot, settlements, handBack) => {
          taken -= settlements.length
          return group.settle(slot, settlements, handBack)
        },
        settleAndTake: async (slot, settlements, request) => {
          before(++n)
          seen.underWay = Math.max(seen.underWay, ++underWay)
          taken -= settlements.length
          const answer = await group.settleAndTake(slot, settlements, request)
          underWay--
          taken += answer.started.length
          seen.taken = Math.max(seen.taken, taken)
          return answer
        },
      })),
  }
}

const OrderShipped = defineEvent('OrderShipped', { payload: z.object({}) })

const TAKE = String(evalsha(takeSetAsideScript, '', [], [])[1])

describe('a claimer’s takes', () => {
  it('go on while handlers run, no more in hand than two pages, in due order', async () => {
    const { connect, proxy, raw } = await startFailed(2_000)
    const due = await raw.zrange('{orders}:billing:due', '0', '-1')
    const seen = { underWay: 0, taken: 0 }
    const calls: string[] = []
    const handler: EventHandler<never> = (_event, { entryId }) => void calls.push(entryId)

    const report = await claimOnce(billing(handler), { redis: watching(connect(proxy.url), seen) })

    expect([report.acked, difference(report), seen.underWay]).toEqual([2_000, 0, 2])
    expect([seen.taken > 100, seen.taken <= 200]).toEqual([true, true])
    expect(calls).toEqual(due)
  })

  it.each<[string, EventHandler<never>, (handler: EventHandler<never>) => Partial<ConsumerOptions>]>([
    ['handlers are slow', () => delay(60), () => ({})],
    ['something failed', () => Promise.reject(new Error('no')), () => ({})],
    [
      'policies are used',
      () => {},
      () => ({ use: [definePolicy({ name: 'own', begin: () => ({ limit: () => 100 }) })] }),
    ],
    [
      'batches may gather',
      () => {},
      (handler) => ({ routes: [on(OrderPaid, handler as EventHandler), onBatch(OrderShipped, () => {})] }),
    ],
    ['as many bytes are in hand as may be', () => {}, () => ({ maxBytes: 5_000, maxEntryBytes: 500 })],
  ])('wait for handlers where %s', async (_why, then, settingsOf) => {
    const { connect, proxy } = await startFailed(400)
    const seen = { underWay: 0, taken: 0 }

    await claimOnce(billing(then, { concurrency: 100, ...settingsOf(then) }), {
      redis: watching(connect(proxy.url), seen),
    })

    expect([seen.underWay, seen.taken <= 100]).toEqual([1, true])
  })

  it('cost those no delivery that time left no turn for', async () => {
    const { connect, proxy, pending, orders } = await startFailed(1_000)
    const stop = new AbortController()
    const { calls, handler } = noting(() => {
      if (calls.length === 500) stop.abort()
    })

    const report = await claimOnce(billing(handler), { redis: connect(proxy.url), signal: stop.signal })

    expect([difference(report), report.acked, report.released > 0]).toEqual([0, calls.length, true])
    const done = new Set(calls)
    expect(await pending()).toEqual(orders.filter((order) => !done.has(order)).map((order) => [order, 'parked', 1]))
  })

  it('cost nothing where two answers are lost, and what ran is settled', async () => {
    const scenario = await startFailed(1_000)
    const { proxy, orders, raw } = scenario
    const redis = connectIoredis(proxy.url, { commandTimeout: 500 })
    onTestFinished(() => redis.close())
    const { calls, handler } = noting()
    const taken = () => raw.hmget('{orders}:billing:state', 'took:claimer-0', 'took:claimer-0+')

    const first = proxy.pauseOn(TAKE)
    const claiming = Promise.allSettled([claimOnce(billing(handler), { redis })])
    const { release } = await first
    const second = proxy.pauseOn(TAKE)
    release()
    const held = await second
    // two follow its answer, one right after the other
    const frozen = proxy.freezeAfter(TAKE, 0)
    held.release()
    await frozen
    while (!(await taken()).every((note) => note?.includes('='))) await delay(5)
    const [failure] = await claiming

    const { report } = (failure as PromiseRejectedResult).reason as InvocationFailedError
    expect([difference(report), report.acked, calls.length > 0]).toEqual([0, calls.length, true])
    const done = new Set(calls)
    expect(await scenario.pending()).toEqual(
      orders.filter((order) => !done.has(order)).map((order) => [order, 'parked', 1]),
    )
    await claimOnce(billing(handler), { redis: scenario.redis })
    expect(calls.toSorted()).toEqual(orders.toSorted())
  })

  it('leave at most two pages to others where the process dies, and lose none', async () => {
    const { redis, proxy, orders, raw, age, pending } = await startFailed(1_000)
    const victim = startVictim({
      url: proxy.url,
      action: 'claim',
      options: {},
      poison: 'o500',
      death: 'loop',
      handlerMs: -1,
    })
    await victim.poisoned
    await delay(100) // what is under way at the proxy gets there
    await victim.kill()

    const left = await pending()
    const orphans = left.filter(([, owner]) => owner !== 'parked')
    expect([orphans.length > 100, orphans.length <= 200]).toEqual([true, true])
    await raw.del('{orders}:billing:slot:claimer-0')
    await age(60_000)
    const { calls, handler } = noting()
    const reports: Report[] = []
    while ((await pending()).length > 0) reports.push(await claimOnce(billing(handler), { redis }))
    expect(new Set(calls)).toEqual(new Set(left.map(([order]) => order)))
    expect([orders.length - left.length + calls.length, reports.every((report) => difference(report) === 0)]).toEqual([
      orders.length,
      true,
    ])
  })
})
