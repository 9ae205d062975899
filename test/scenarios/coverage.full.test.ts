import { once } from 'node:events'
import { connect as connectSocket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Report } from 'millrace'
import { poll } from 'millrace'
import { describe, expect, it } from 'vitest'
import type { PrivateRedis } from '../../tools/redis-server.ts'
import { claimOnce } from '../support/claim-once.ts'
import { setAside } from '../support/due.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { billing, counts, difference, lambdaContext, names, noting, startScenario } from '../support/scenario.ts'
import { startVictim } from '../support/start-victim.ts'
import { watchCommands } from '../support/watch-commands.ts'

const fail = () => Promise.reject(new Error('no'))
/** Due again at once, for ever. */
const ALWAYS_DUE = { backoff: { firstMs: 0 }, maxDeliveries: 1_000 }
const LEASE = '{orders}:billing:slot:claimer-'

/** Makes entries look as if their owner had died that long ago, after that many deliveries. */
async function orphan(raw: Redis, ids: readonly string[], deliveryCount = 1, idleMs = 60_000): Promise<void> {
  await raw.xclaim('orders', 'billing', 'poller-3', 0, ...ids, 'IDLE', idleMs, 'RETRYCOUNT', deliveryCount, 'JUSTID')
}

describe('promise 6: every stale entry is reached within one lap', () => {
  it('with five hundred fresh ones before it, which stay as they are', async () => {
    const { redis, raw, publish, pending } = await startScenario()
    const { calls, handler } = noting()
    const fresh = names('fresh-', 500)
    const stale = names('stale-', 40)
    await poll(billing(handler), { redis })
    const ids = await publish(...fresh, ...stale)
    await raw.xreadgroup('GROUP', 'billing', 'poller-3', 'COUNT', 1_000, 'STREAMS', 'orders', '>')
    await setAside(raw, ids.slice(500, 520))
    await orphan(raw, ids.slice(520))

    const report = await claimOnce(billing(handler), { redis })

    expect(counts(report)).toMatchObject({ claimed: 40, acked: 40, drained: true })
    expect(calls.toSorted()).toEqual(stale.toSorted())
    expect(await pending()).toEqual(fresh.map((order) => [order, 'poller-3', 1]))
  })

  it('behind a head that always fails, by runs cut off on connections of their own', async () => {
    const { redis, connect, publish } = await startScenario()
    const heads = names('head-', 240)
    const tail = names('tail-', 20)
    await publish(...heads, ...tail)
    await poll(billing(fail, ALWAYS_DUE), { redis })
    const options = { ...ALWAYS_DUE, concurrency: 20, handlerTimeoutMs: 150, reserveMs: 150 }
    const { calls, handler } = noting(async (event) => {
      await delay(60)
      if ((event as { payload: { orderId: string } }).payload.orderId.startsWith('head')) throw new Error('no')
    })

    const reports: Report[] = []
    for (let run = 0; run < 12 && new Set(calls).size < 260; run++)
      reports.push(await claimOnce(billing(handler, options), { redis: connect(), remainingMs: 700 }))

    expect(reports.length).toBeGreaterThan(1)
    expect([...new Set(calls)].toSorted()).toEqual([...heads, ...tail].toSorted())
    // none had its second turn before every other had its first
    expect(calls.slice(0, 260).toSorted()).toEqual([...heads, ...tail].toSorted())
    expect(reports.map(difference)).toEqual(reports.map(() => 0))
  })

  it('after the group was made again, from the start', async () => {
    const { redis, raw, connect, publish } = await startScenario()
    await poll(
      billing(() => {}),
      { redis },
    )
    const ids = await publish(...names('o', 250))
    await raw.xreadgroup('GROUP', 'billing', 'poller-3', 'COUNT', 250, 'STREAMS', 'orders', '>')
    await orphan(raw, ids)
    const stop = new AbortController()
    const { calls, handler } = noting(() => {
      if (calls.length === 150) stop.abort()
    })
    await claimOnce(billing(handler, ALWAYS_DUE), { redis, signal: stop.signal })
    expect(await raw.hget('{orders}:billing:state', 'cursor')).not.toBe('0-0')

    await raw.xgroup('DESTROY', 'orders', 'billing')
    await poll(
      billing(() => {}),
      { redis: connect() },
    )

    expect(await raw.hget('{orders}:billing:state', 'cursor')).toBeNull()
    expect((await raw.xpending('orders', 'billing'))[0]).toBe(0)
  })
})

describe('promise 11: no more is started than can finish in its time', () => {
  it.each([
    ['poll', poll],
    ['claim', claimOnce],
  ] as const)('%s, with handlers that take nearly all of it', async (action, run) => {
    const { redis, publish, pending } = await startScenario()
    const orders = names('o', 40)
    const options = { ...ALWAYS_DUE, concurrency: 3, handlerTimeoutMs: 500, reserveMs: 200 }
    await publish(...orders)
    if (action === 'claim') await poll(billing(fail, options), { redis })
    const running = { count: 0, most: 0 }
    const { calls, handler } = noting(async () => {
      running.most = Math.max(running.most, ++running.count)
      await delay(300)
      running.count--
    })
    const context = lambdaContext(1_500)

    const report = await run(billing(handler, options), { redis, context })

    expect(context.getRemainingTimeInMillis()).toBeGreaterThan(0)
    expect([running, report.overran, difference(report)]).toEqual([{ count: 0, most: 3 }, 0, 0])
    expect([calls.length >= 3, calls.length <= 12, report.acked]).toEqual([true, true, calls.length])
    const attempts = action === 'poll' ? 0 : 1
    expect(await pending()).toEqual(
      orders.filter((order) => !calls.includes(order)).map((order) => [order, 'parked', attempts]),
    )
  })
})

describe('promise 6: two claimers at once', () => {
  it('never double a call or a dead letter', async () => {
    const { redis, raw, connect, publish, pending, deadLetters } = await startScenario()
    const orders = names('o', 700)
    await poll(
      billing(() => {}),
      { redis },
    )
    const ids = await publish(...orders)
    await raw.xreadgroup('GROUP', 'billing', 'poller-3', 'COUNT', 1_000, 'STREAMS', 'orders', '>')
    await setAside(raw, ids.slice(0, 400))
    await orphan(raw, ids.slice(400, 450))
    await setAside(raw, ids.slice(450, 550), 5)
    await orphan(raw, ids.slice(550), 5)
    const owners = new Set<string>()
    const { calls, handler } = noting((_event, { consumerName }) => {
      owners.add(consumerName)
      return delay(3)
    })

    const reports = await Promise.all([connect(), connect()].map((own) => claimOnce(billing(handler), { redis: own })))

    expect(calls.toSorted()).toEqual(orders.slice(0, 450).toSorted())
    expect(owners).toEqual(new Set(['claimer-0', 'claimer-1']))
    const letters = await deadLetters()
    expect(letters.map(({ head }) => head.originalId ?? '').toSorted()).toEqual(ids.slice(450).toSorted())
    expect(new Set(letters.map(({ head }) => head.reason))).toEqual(new Set(['max-deliveries', 'crashed']))
    expect(reports.map(difference)).toEqual([0, 0])
    expect([reports.reduce((sum, { acked }) => sum + acked, 0), await pending()]).toEqual([450, []])
  })

  it('never both run what one of them claimed and was too late to start', async () => {
    const { server, redis, raw, connect, publish, pending, age } = await startScenario()
    const proxy = await startFaultProxy(server)
    const [id = ''] = await publish('a')
    await poll(billing(fail, ALWAYS_DUE), { redis })
    await orphan(raw, [id])
    const { calls, handler } = noting(async () => {
      held.release()
      expect(counts(await late)).toEqual({ claimed: 1, superseded: 1, batches: 1, drained: true })
    })
    const consumer = billing(handler, ALWAYS_DUE)
    const starting = proxy.pauseOn(id)
    const late = claimOnce(consumer, { redis: connect(proxy.url) })
    const held = await starting
    await age(60_000)

    const report = await claimOnce(consumer, { redis })

    expect([calls, report.acked, await pending()]).toEqual([['a'], 1, []])
    expect(await raw.keys(`${LEASE}*`)).toEqual([])
    await proxy.close()
  })

  it('killed while they held leases hold up nobody: a third starts when those leases end', async () => {
    const { server, redis, raw, publish, age } = await startScenario()
    const orders = names('o', 250) // more than one claimer takes, or the second finds nothing and gives its lease back
    await publish(...orders)
    await poll(billing(fail, ALWAYS_DUE), { redis })
    const { calls, handler } = noting()
    const consumer = billing(handler, ALWAYS_DUE)
    const killed = [1, 2].map(() =>
      startVictim({ url: server.url, action: 'claim', options: ALWAYS_DUE, handlerMs: 600_000 }),
    )
    const owns = async (name: string) => ((await raw.xpending('orders', 'billing', '-', '+', 1, name)) as []).length > 0
    while (!((await owns('claimer-0')) && (await owns('claimer-1')))) await delay(5)
    await Promise.all(killed.map((victim) => victim.kill()))

    expect(counts(await claimOnce(consumer, { redis }))).toEqual({ noFreeSlot: true })
    const leases = await Promise.all([raw.pttl(`${LEASE}0`), raw.pttl(`${LEASE}1`)])
    for (const leaseMs of leases) expect([leaseMs > 0, leaseMs <= 65_000]).toEqual([true, true])
    await raw.pexpire(`${LEASE}1`, 1) // one of them is over
    while ((await raw.exists(`${LEASE}1`)) > 0) await delay(1)
    await age(60_000)

    expect(counts(await claimOnce(consumer, { redis }))).toMatchObject({ claimed: 250, acked: 250, drained: true })
    expect(calls.toSorted()).toEqual(orders.toSorted())
  })
})

describe('promise 6: a claimer’s work is bounded', () => {
  it('XAUTOCLAIM takes at most 100, XPENDING gives at most 1,000 and skips what is set aside', async () => {
    const { server, redis, raw, publish } = await startScenario()
    await poll(
      billing(() => {}),
      { redis },
    )
    const ids = await publish(...names('o', 2_500))
    await raw.xreadgroup('GROUP', 'billing', 'poller-3', 'COUNT', 2_500, 'STREAMS', 'orders', '>')
    await setAside(raw, ids.slice(1_500, 2_400))
    await orphan(raw, ids.slice(2_400))
    const watch = await watchCommands(server.url)

    await claimOnce(
      billing(() => {}),
      { redis },
    )

    const seen = await watch.seen()
    const argumentsOf = (command: string) => seen.flatMap(([name, ...args]) => (name === command ? [args] : []))
    const counted = argumentsOf('xautoclaim').map((args) => Number(args[args.indexOf('COUNT') + 1]))
    const ranges = argumentsOf('xpending').filter((args) => args.length > 2)
    expect([counted.length > 0, Math.max(...counted) <= 100, Math.min(...counted) > 0]).toEqual([true, true, true])
    const most = ranges.map((args) => Number(args[args.includes('IDLE') ? 6 : 4]))
    expect(most.filter((count) => !(count <= 1_000))).toEqual([])
    expect(ranges.filter((args) => args.includes('IDLE') && args.at(-1) === 'parked')).toEqual([])
    expect(argumentsOf('xautoclaim').filter((args) => !args.includes('JUSTID'))).toEqual([])
    expect(argumentsOf('xreadgroup')).toEqual([])
  })

  it('with a million pending: a run ends in time, and the next one continues it', async () => {
    const { server, redis, raw, connect } = await startScenario()
    await fillPending(server, raw)
    const timeMs = 900
    const options = {
      backoff: { firstMs: 60_000 },
      maxDeliveries: 1_000,
      minIdleMs: 200,
      handlerTimeoutMs: 100,
      reserveMs: 200,
      allowLongHandlers: true,
    }
    const runFor = async (remainingMs: number) => {
      const entryIds: string[] = []
      const handler = (_event: unknown, { entryId }: { entryId: string }) => {
        entryIds.push(entryId)
        return fail()
      }
      await raw.config('RESETSTAT')
      const context = lambdaContext(remainingMs)
      const report = await claimOnce(billing(handler as never, options), { redis: connect(), context })
      const leftMs = context.getRemainingTimeInMillis()
      const stats = await raw.info('commandstats')
      const calls = [...stats.matchAll(/cmdstat_(\S+?):calls=(\d+)/g)].map(([, name, n]) => [name, Number(n)] as const)
      return { report, entryIds, leftMs, commands: calls.reduce((sum, [, n]) => sum + n, 0) }
    }

    const runs = [await runFor(timeMs), await runFor(timeMs), await runFor(timeMs)]

    for (const { report, entryIds, leftMs, commands } of runs) {
      expect(leftMs).toBeGreaterThan(0)
      expect([entryIds.length > 0, report.retried, report.drained]).toEqual([true, entryIds.length, false])
      expect(difference(report)).toBe(0)
      // a handful of commands per entry, however many wait
      expect(commands / entryIds.length).toBeLessThan(15)
    }
    // none is passed over; what a run had no time for comes first in the next, as text
    const called = runs.flatMap(({ entryIds }) => entryIds)
    expect(called.toSorted()).toEqual((await firstIds(raw, called.length)).toSorted())
    expect((await raw.xpending('orders', 'billing'))[0]).toBe(MILLION)
    await redis.close()
  })
})

const MILLION = 1_000_000

/** A million entries that were read once and settled as failures. */
async function fillPending({ host, port }: PrivateRedis, raw: Redis): Promise<void> {
  const add = `for n = 1, 100000 do
    local id = redis.call('XADD', KEYS[1], '*', 'eventType', 'OrderPaid', 'payload', '{"orderId":"o"}')
    redis.call('ZADD', KEYS[2], (ARGV[1] * 100000 + n) * 1024 + 1, id)
  end`
  await raw.xgroup('CREATE', 'orders', 'billing', '0', 'MKSTREAM')
  for (let n = 0; n < 10; n++) await raw.eval(add, 2, 'orders', '{orders}:billing:due', n)
  // a client that does not inspect what it reads: a million bodies would take ioredis longer than all else
  const socket = connectSocket({ host, port }).resume()
  socket.write('XREADGROUP GROUP billing parked COUNT 100000 STREAMS orders >\r\n'.repeat(10))
  while ((await raw.xpending('orders', 'billing'))[0] !== MILLION) await delay(20)
  socket.destroy()
  await once(socket, 'close')
}

async function firstIds(raw: Redis, count: number): Promise<string[]> {
  return (await raw.xrange('orders', '-', '+', 'COUNT', count)).map(([id]) => id)
}
