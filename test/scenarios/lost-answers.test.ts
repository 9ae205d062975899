import { Redis } from 'ioredis'
import { Redis as Redis5 } from 'ioredis5'
import type { InvocationFailedError, Report } from 'millrace'
import { poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { describe, expect, it, onTestFinished } from 'vitest'
import { startClaimedScript } from '../../dist/group/redis/scripts/start.js'
import { evalsha } from '../../src/group/redis/scripts/script.ts'
import { claimOnce } from '../support/claim-once.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { billing, difference, names, noting, startScenario } from '../support/scenario.ts'

const SETTINGS = { commandTimeout: 300, retryStrategy: () => 20 }
const ofUrl = (url: string) => connectIoredis(url, SETTINGS)

/** A scenario whose connection gives up an answer after 300 ms. */
async function startImpatient(connect = ofUrl) {
  const scenario = await startScenario()
  const proxy = await startFaultProxy(scenario.server)
  const redis = connect(proxy.url)
  onTestFinished(async () => {
    await redis.close()
    await proxy.close()
  })
  return { ...scenario, proxy, patient: scenario.redis, redis }
}

const failed = async (run: Promise<Report>): Promise<Report> => {
  const error = (await run.catch((caught: unknown) => caught)) as InvocationFailedError
  expect(error.code).toBe('ERR_INVOCATION_FAILED')
  expect(difference(error.report)).toBe(0)
  return error.report
}

const OPTIONS = { batchSize: 10, maxDeliveries: 1 }

describe('promise 2: a read whose answer is lost', () => {
  it.each([
    ['all of the answer', 0, { acked: 10, ackMissed: 10 }],
    ['all but the answer of the acknowledgement', 5, { acked: 10, ackMissed: 0 }],
    ['all but the acknowledgement and a part of the entries', 60, { acked: 10, ackMissed: 0 }],
  ])('costs no delivery where the network loses %s', async (_what, bytes, known) => {
    const { proxy, redis, patient, publish, pending, age, deadLetters } = await startImpatient()
    const { calls, handler } = noting()
    const orders = names('o', 25)
    await publish(...orders)
    const lost = proxy.freezeAfter('xack', bytes)

    const report = await failed(poll(billing(handler, OPTIONS), { redis }))

    await lost
    expect(report).toMatchObject({ read: 10, unsettled: 0, ...known })
    expect(await pending()).toEqual(orders.slice(10, 20).map((order) => [order, 'parked', 0]))
    await age(60_000)
    await claimOnce(billing(handler, OPTIONS), { redis: patient })
    await poll(billing(handler, OPTIONS), { redis: patient })
    expect([calls.toSorted(), await pending(), await deadLetters()]).toEqual([orders.toSorted(), [], []])
  })

  it.each([
    ['ioredis 6', Redis],
    ['ioredis 5', Redis5 as never as typeof Redis],
  ])('is released over the next client of a factory, %s', async (_name, Kind) => {
    const { proxy, redis, publish, pending } = await startImpatient((url) =>
      connectIoredis(() => new Kind(url, SETTINGS)),
    )
    const orders = names('o', 25)
    await publish(...orders)
    const lost = proxy.freezeAfter('xack', 5)

    const report = await failed(poll(billing(noting().handler, OPTIONS), { redis }))

    await lost
    expect(report).toMatchObject({ read: 10, acked: 10, unsettled: 0 })
    expect(await pending()).toEqual(orders.slice(10, 20).map((order) => [order, 'parked', 0]))
  })

  it.each(['the next poller of that name', 'a claimer'])(
    'costs no delivery if carried out after the slot was given back: %s releases it',
    async (who) => {
      const { proxy, redis, patient, publish, pending, age, deadLetters, raw } = await startImpatient()
      const { calls, handler } = noting()
      const orders = names('o', 20)
      await publish(...orders)
      const held = proxy.pauseOn('xack')

      await failed(poll(billing(handler, OPTIONS), { redis }))

      expect(await pending()).toEqual([])
      ;(await held).release()
      while (((await raw.xpending('orders', 'billing')) as [number])[0] < 10) await pending()
      expect(await pending()).toEqual(orders.slice(10).map((order) => [order, 'poller-0', 1]))
      if (who !== 'a claimer') await poll(billing(handler, OPTIONS), { redis: patient })
      await age(60_000)
      await raw.hincrby('{orders}:billing:state', 'doubt:poller-0', who === 'a claimer' ? -60_000 : 0)
      const report = await claimOnce(billing(handler, OPTIONS), { redis: patient })
      expect([report.acked, calls, await pending(), await deadLetters()]).toEqual([10, orders, [], []])
    },
  )

  it('leaves alone what ran and is not settled, and what a process left that died', async () => {
    const { proxy, redis, raw, publish, pending } = await startImpatient()
    const orders = names('o', 20)
    await publish('dead', ...orders)
    await raw.xgroup('CREATE', 'orders', 'billing', '0')
    await raw.xreadgroup('GROUP', 'billing', 'poller-0', 'COUNT', 1, 'STREAMS', 'orders', '>')
    // no request is answered any more, in time
    const { calls, handler } = noting(() => {
      if (calls.length === 1) proxy.stall()
    })

    const report = await failed(poll(billing(handler, OPTIONS), { redis, remainingMs: 12_500 }))

    proxy.resume()
    expect(report).toMatchObject({ read: 10, unsettled: 10 })
    expect((await pending())[0]).toEqual(['dead', 'poller-0', 1])
  })
})

it('promise 4: what ran and was refused its acknowledgement keeps its delivery', async () => {
  const { redis, raw, publish, pending } = await startScenario()
  await raw.call('ACL', 'SETUSER', 'default', '-xack')
  await publish('a')
  const { calls, handler } = noting()

  await failed(poll(billing(handler), { redis }))

  expect([calls, await pending()]).toEqual([['a'], [['a', 'poller-0', 1]]])
})

describe('promise 2: a start whose answer is lost', () => {
  it('costs no delivery, not the last one either', async () => {
    const { proxy, redis, patient, publish, pending, age, deadLetters } = await startImpatient()
    const { calls, handler } = noting(() => {
      if (calls.length <= 5) throw new Error('the first delivery fails')
    })
    const orders = names('o', 5)
    const consumer = billing(handler, { maxDeliveries: 2, backoff: { firstMs: 1, factor: 1, maxMs: 1 } })
    await poll(consumer, { redis: patient })
    await claimOnce(consumer, { redis: patient })
    await publish(...orders)
    await poll(consumer, { redis: patient })
    await age(60_000)
    const lost = proxy.freezeAfter(String(evalsha(startClaimedScript, '', [], [])[1]), 0)

    const report = await failed(claimOnce(consumer, { redis }))

    await lost
    expect(report).toMatchObject({ claimed: 5, released: 5, unsettled: 0 })
    expect(await pending()).toEqual(orders.map((order) => [order, 'parked', 1]))
    await age(60_000)
    await claimOnce(consumer, { redis: patient })
    expect([calls.length, await pending(), await deadLetters()]).toEqual([10, [], []])
  })
})
