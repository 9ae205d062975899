import { setTimeout as delay } from 'node:timers/promises'
import type { Connection, EventHandler } from 'millrace'
import { defineConsumer, on, poll } from 'millrace'
import { createVirtualClock } from 'millrace/testing'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { startClaimedScript } from '../../dist/group/redis/scripts/start.js'
import { evalsha } from '../../src/group/redis/scripts/script.ts'
import type { BothSides } from '../support/both-sides.ts'
import { bothSides } from '../support/both-sides.ts'
import { claimOnce } from '../support/claim-once.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { billing, counts, difference, names, noting, OrderPaid, startScenario } from '../support/scenario.ts'

/** A connection that notes how many entries each request starts. */
function recordingStarts(redis: Connection, sizes: number[]): Connection {
  return withGroup(redis, (group) => ({
    settleAndStart: (slot, settlements, claimed) => {
      sizes.push(claimed.length)
      return group.settleAndStart(slot, settlements, claimed)
    },
    settleAndTake: async (slot, settlements, request) => {
      const taken = await group.settleAndTake(slot, settlements, request)
      sizes.push(taken.started.length)
      return taken
    },
  }))
}

function withGroup(redis: Connection, change: (group: BothSides) => Partial<BothSides>): Connection {
  return { ...redis, group: (...address) => bothSides(redis.group(...address), change) }
}

const orderOf = (event: unknown) => (event as { payload: { orderId: string } }).payload.orderId

describe('promise 6: a claimer', () => {
  it('cut off goes on where it stopped, and reaches every stale entry within one lap', async () => {
    const { redis, publish, age } = await startScenario()
    const options = { backoff: { firstMs: 50_000 }, maxDeliveries: 1_000 }
    await publish(...names('o', 250))
    await poll(
      billing(() => Promise.reject(new Error('no')), options),
      { redis },
    )
    let stop = new AbortController()
    const { calls, handler } = noting(() => {
      if (calls.length % 60 === 0) stop.abort()
      throw new Error('no')
    })
    const seen: string[] = []
    for (let run = 0; run < 6; run++) {
      await age(60_000)
      stop = new AbortController()
      calls.length = 0
      const report = await claimOnce(billing(handler, options), { redis, signal: stop.signal })
      expect(difference(report)).toBe(0)
      seen.push(...calls)
    }

    expect(new Set(seen).size).toBe(250)
  })

  it('that starts in mid-lap ends at the end of its lap', async () => {
    const { redis, raw, publish } = await startScenario()
    await publish('a')
    await poll(
      billing(() => {}),
      { redis },
    )
    await raw.hset('{orders}:billing:state', 'cursor', '99-5')

    const report = await claimOnce(
      billing(() => {}),
      { redis },
    )

    expect(counts(report)).toEqual({ drained: true })
    expect(report.roundTrips).toBeLessThan(12)
  })

  it('comes back to what it took and had to release', async () => {
    const { redis, publish, pending } = await startScenario()
    const options = { backoff: { firstMs: 0 }, concurrency: 100, maxDeliveries: 1_000 }
    await publish(...names('o', 150))
    await poll(
      billing(() => Promise.reject(new Error('no')), options),
      { redis },
    )
    const stop = new AbortController()

    const report = await claimOnce(
      billing(() => stop.abort(), options),
      { redis, signal: stop.signal },
    )
    const left = await pending()
    const rest = await claimOnce(
      billing(() => {}, options),
      { redis },
    )

    expect(counts(report)).toMatchObject({ claimed: 100, acked: 1, released: 99, batches: 1 })
    expect(left.map(([, owner, count]) => [owner, count])).toEqual(left.map(() => ['parked', 1]))
    expect(counts(rest)).toMatchObject({ claimed: 149, acked: 149 })
  })

  it('starts fast entries ahead of their handlers, but neither suspects nor last deliveries', async () => {
    const { redis, raw, publish, age } = await startScenario()
    const options = { concurrency: 10, backoff: { firstMs: 0 }, maxDeliveries: 3, handlerTimeoutMs: 20, reserveMs: 100 }
    const fail = billing(async () => Promise.reject(new Error('no')), options)
    const most = async (redis: Connection) => {
      const sizes: number[] = []
      await claimOnce(fail, { redis: recordingStarts(redis, sizes) })
      return Math.max(...sizes)
    }
    await publish(...names('o', 300))
    await poll(fail, { redis })

    const trusted = await most(redis)
    const last = await most(redis)
    await publish(...names('o', 300))
    await raw.xreadgroup('GROUP', 'billing', 'poller-9', 'COUNT', 300, 'STREAMS', 'orders', '>') // and its process dies
    await age(60_000)
    const suspects = await most(redis)

    expect([trusted > 50, last, suspects]).toEqual([true, 10, 10])
  })

  it('is not held up by a head that was trimmed', async () => {
    const { redis, raw, publish } = await startScenario()
    const { calls, handler } = noting()
    const options = { backoff: { firstMs: 0 }, concurrency: 1 }
    await publish(...names('o', 1_000), 'alive')
    await poll(
      billing(() => Promise.reject(new Error('no')), options),
      { redis },
    )
    await raw.xtrim('orders', 'MAXLEN', '=', 1)

    const report = await claimOnce(billing(handler, options), { redis })

    expect(counts(report)).toEqual({ claimed: 1, acked: 1, lost: 1_000, batches: 1, drained: true })
    expect([calls, report.roundTrips < 30]).toEqual([['alive'], true])
  })

  it('whose start was sent again after a lost reply counts it once', async () => {
    const { server, redis, raw, connect, publish, deadLetters } = await startScenario()
    const proxy = await startFaultProxy(server)
    const { calls, handler } = noting(() => Promise.reject(new Error('no')))
    const consumer = billing(handler, { maxDeliveries: 2, backoff: { firstMs: 0 } })
    await publish('a')
    await poll(consumer, { redis })
    await raw.script('LOAD', startClaimedScript.lua)
    const cut = proxy.cutAfter(String(evalsha(startClaimedScript, '', [], [])[1]))

    const report = await claimOnce(consumer, { redis: connect(proxy.url) })
    await cut

    expect(counts(report)).toEqual({ claimed: 1, deadLettered: 1, batches: 1, drained: true })
    expect(calls).toEqual(['a', 'a'])
    expect((await deadLetters()).map(({ head }) => [head.reason, head.deliveryCount])).toEqual([
      ['max-deliveries', '2'],
    ])
    await proxy.close()
  })

  it('runs a suspect alone in the invocation, whichever consumer the others belong to', async () => {
    const { redis, raw, publish } = await startScenario()
    const running = new Set<string>()
    const beside: string[][] = []
    const track = (group: string) => async (event: unknown) => {
      const name = `${group} ${orderOf(event)}`
      running.add(name)
      await delay(20)
      beside.push([name, ...running].filter((other, at, all) => all.indexOf(other) === at))
      running.delete(name)
    }
    const search = (handler: () => unknown) =>
      defineConsumer({
        stream: 'orders',
        group: 'search',
        routes: [on(OrderPaid, handler as never)],
        concurrency: 1,
        backoff: { firstMs: 0 },
      })
    const [suspect = ''] = await publish('suspect')
    const fail = () => Promise.reject(new Error('no'))
    await poll([billing(fail, { backoff: { firstMs: 0 } }), search(fail)], { redis })
    await publish('a', 'b')
    await poll(search(fail), { redis })
    await raw.xclaim('orders', 'billing', 'poller-9', 0, suspect, 'IDLE', 60_000, 'RETRYCOUNT', 3, 'JUSTID')

    await claimOnce([billing(track('billing') as never), search(track('search') as never)], { redis })

    expect(beside.find(([name]) => name === 'billing suspect')).toEqual(['billing suspect'])
    expect(new Set(beside.map(([name]) => name))).toEqual(
      new Set(['billing suspect', 'search a', 'search b', 'search suspect']),
    )
  })

  it('settles what is done before a suspect of another consumer runs', async () => {
    const { redis, raw, publish } = await startScenario()
    const fail = () => Promise.reject(new Error('no'))
    const options = { backoff: { firstMs: 0 } }
    const search = (handler: EventHandler<never>) =>
      defineConsumer({
        stream: 'orders',
        group: 'search',
        routes: [on(OrderPaid, handler as EventHandler)],
        ...options,
      })
    const [first = '', second = ''] = await publish('done', 'suspect too')
    await poll([billing(fail, options), search(fail)], { redis })
    const suspect = ['IDLE', 60_000, 'RETRYCOUNT', 3, 'JUSTID'] as const
    await raw.call('xclaim', 'orders', 'billing', 'poller-9', 0, first, ...suspect)
    await raw.xack('orders', 'billing', second)
    await raw.call('xclaim', 'orders', 'search', 'poller-9', 0, second, ...suspect)
    const pendingMeanwhile: unknown[] = []
    const look = async () => {
      await delay(30)
      pendingMeanwhile.push(...((await raw.xpending('orders', 'search', '-', '+', 9)) as string[][]).map(([id]) => id))
    }

    vi.spyOn(Math, 'random').mockReturnValue(0.9) // what must be alone does not go first in this invocation
    onTestFinished(() => void vi.restoreAllMocks())
    await claimOnce([search(() => delay(20)), billing(look)], { redis })

    expect(pendingMeanwhile).toEqual([second])
  })

  it.each([
    [0.1, ['suspect']],
    [0.9, ['slow']],
  ])(
    'reaches what must be alone in every other invocation, whatever another consumer does (chance %d)',
    async (chance, reached) => {
      const { redis, raw, publish } = await startScenario()
      const fail = () => Promise.reject(new Error('no'))
      const options = { backoff: { firstMs: 0 }, handlerTimeoutMs: 300, reserveMs: 200 }
      const search = (handler: EventHandler<never>) =>
        defineConsumer({
          stream: 'orders',
          group: 'search',
          routes: [on(OrderPaid, handler as EventHandler)],
          ...options,
        })
      const [first = ''] = await publish('o')
      await poll([billing(fail, options), search(fail)], { redis })
      await raw.call('xclaim', 'orders', 'billing', 'poller-9', 0, first, 'IDLE', 60_000, 'RETRYCOUNT', 3, 'JUSTID')
      const calls: string[] = []
      const hang = () => {
        calls.push('slow')
        return delay(1_000, undefined, { ref: false })
      }
      vi.spyOn(Math, 'random').mockReturnValue(chance)
      onTestFinished(() => void vi.restoreAllMocks())

      // time for one handler, and for no second one after one that hangs
      await claimOnce([search(hang), billing(() => void calls.push('suspect'), options)], { redis, remainingMs: 750 })

      expect(calls.slice(0, 1)).toEqual(reached)
    },
  )

  it('keeps a suspect that had no turn under its own name, and comes back to it', async () => {
    const { redis, raw, publish, age, pending } = await startScenario()
    const options = { backoff: { firstMs: 0 }, concurrency: 1 }
    const [, orphan = ''] = await publish('a', 'orphan')
    await poll(
      billing(() => Promise.reject(new Error('no')), options),
      { redis },
    )
    await raw.xclaim('orders', 'billing', 'poller-9', 0, orphan, 'IDLE', 60_000, 'JUSTID')
    const stop = new AbortController()
    const { calls, handler } = noting(() => stop.abort())

    await claimOnce(billing(handler, options), { redis, signal: stop.signal })
    const left = await pending()
    await age(60_000)
    await claimOnce(billing(handler, options), { redis })

    expect(left).toEqual([['orphan', 'claimer-0', 1]])
    expect(calls).toEqual(['a', 'orphan'])
    expect(await pending()).toEqual([])
  })

  it('keeps a round for suspects where slow failing entries could take all the time', async () => {
    const { redis, raw, publish } = await startScenario()
    const clock = createVirtualClock()
    const { calls, handler } = noting(async () => {
      const end = new Promise<void>((resolve) => void clock.after(95, resolve))
      // once both of a round have started, and beyond the second round each by itself
      if (calls.length % 2 === 0 || calls.length > 4) void clock.advance(95)
      await end
      throw new Error('no')
    })
    const options = { handlerTimeoutMs: 100, reserveMs: 100, concurrency: 2, backoff: { firstMs: 0 }, maxDeliveries: 9 }
    const [orphan = ''] = await publish('orphan', ...names('o', 8))
    await poll(
      billing(() => Promise.reject(new Error('no')), options),
      { redis },
    )
    await raw.xclaim('orders', 'billing', 'poller-9', 0, orphan, 'IDLE', 60_000, 'JUSTID')

    await claimOnce(billing(handler, options), { redis, clock, remainingMs: 450 })

    expect(calls).toEqual(['o0', 'o1', 'o2', 'o3', 'orphan'])
  })

  it('removes no name that it did not give', async () => {
    const { redis, raw, publish } = await startScenario()
    await publish('a')
    const consumer = billing(() => {}, { minIdleMs: 1, handlerTimeoutMs: 1, allowLongHandlers: true })
    await poll(consumer, { redis })
    // before 7.2 a claim that finds nothing makes no name
    for (const name of ['claimer-0', 'poller-alice', 'poller-7', 'parked', 'mine']) {
      await raw.xgroup('CREATECONSUMER', 'orders', 'billing', name)
    }
    await delay(5)

    await claimOnce(consumer, { redis })

    const consumers = (await raw.xinfo('CONSUMERS', 'orders', 'billing')) as string[][]
    expect(consumers.map(([, name]) => name)).toEqual(['claimer-0', 'mine', 'parked', 'poller-0', 'poller-alice'])
  })
})
