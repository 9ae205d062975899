import { setTimeout as delay } from 'node:timers/promises'
import { poll } from 'millrace'
import { describe, expect, it } from 'vitest'
import { startClaimedScript } from '../../dist/group/redis/scripts/start.js'
import { takeSetAsideScript } from '../../dist/group/redis/scripts/take.js'
import { evalsha } from '../../src/group/redis/scripts/script.ts'
import { claimOnce } from '../support/claim-once.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { billing, counts, names, noting, startScenario } from '../support/scenario.ts'
import { startVictim } from '../support/start-victim.ts'

describe('promises 1 and 4: a process that dies', () => {
  it('between handler and ack leaves its entries pending, and the claimer has them handled', async () => {
    const { server, redis, publish, pending, age, deadLetters } = await startScenario()
    const proxy = await startFaultProxy(server)
    const { calls, handler } = noting()
    await publish('a', 'b')

    const held = proxy.pauseOn('xack')
    const victim = startVictim({ url: proxy.url, action: 'poll', options: {} })
    await held
    await victim.kill()
    await proxy.close()

    expect(victim.handled).toEqual(['a', 'b'])
    expect(await pending()).toEqual([
      ['a', 'poller-0', 1],
      ['b', 'poller-0', 1],
    ])
    expect(counts(await claimOnce(billing(handler), { redis }))).toEqual({ drained: true })
    await age(60_000)
    expect(counts(await claimOnce(billing(handler), { redis }))).toEqual({
      claimed: 2,
      acked: 2,
      batches: 1,
      drained: true,
    })
    expect(calls).toEqual(['a', 'b'])
    expect([await pending(), await deadLetters()]).toEqual([[], []])
  })

  it('frees its slot at its own deadline, not before', async () => {
    const { server, redis, raw, publish } = await startScenario()
    await publish('a')
    const victim = startVictim({ url: server.url, action: 'poll', options: {}, handlerMs: 600_000 })
    const { handler } = noting()
    while ((await raw.xpending('orders', 'billing').catch(() => [0]))[0] !== 1)
      await new Promise((resolve) => setImmediate(resolve))
    await victim.kill()

    const leaseMs = await raw.pttl('{orders}:billing:slot:poller-0')
    expect([leaseMs > 50_000, leaseMs <= 65_000]).toEqual([true, true])
    await poll(billing(handler, { maxPollers: 1 }), { redis }).then((report) =>
      expect(counts(report)).toEqual({ noFreeSlot: true }),
    )
    await raw.del('{orders}:billing:slot:poller-0')
    expect(counts(await poll(billing(handler, { maxPollers: 1 }), { redis }))).toEqual({ drained: true })
  })

  it('is not made undone by the next holder of its name', async () => {
    const { redis, raw, publish, pending } = await startScenario()
    const { calls, handler } = noting()
    const consumer = billing(handler)
    await poll(consumer, { redis })
    await publish('a')
    await raw.xreadgroup('GROUP', 'billing', 'poller-0', 'COUNT', 1, 'STREAMS', 'orders', '>')
    await delay(5)
    await publish('b')

    await poll(consumer, { redis })

    expect(calls).toEqual(['b'])
    expect(await pending()).toEqual([['a', 'poller-0', 1]])
  })

  it('at every delivery of one entry makes it a dead letter, and its neighbours are handled', async () => {
    const { server, raw, publish, pending, age, deadLetters } = await startScenario()
    const options = { maxDeliveries: 4, concurrency: 3 }
    const orders = [...names('before-', 4), 'poison', ...names('after-', 4)]
    await publish(...orders)
    const handled = new Set<string>()
    let deaths = 0

    for (let run = 0; run < 12 && (run === 0 || (await pending()).length > 0); run++) {
      const victim = startVictim({ url: server.url, action: run === 0 ? 'poll' : 'claim', options, poison: 'poison' })
      if ((await victim.exit) === 3) deaths++
      for (const orderId of victim.handled) handled.add(orderId)
      for (const slot of ['poller-0', 'claimer-0', 'claimer-1']) await raw.del(`{orders}:billing:slot:${slot}`)
      await age(60_000)
    }

    expect(handled).toEqual(new Set(orders.filter((orderId) => orderId !== 'poison')))
    expect((await deadLetters()).map(({ head, fields }) => [head.reason, head.deliveryCount, fields.at(-1)])).toEqual([
      ['crashed', '4', ['payload', '{"orderId":"poison"}']],
    ])
    expect(deaths).toBe(4)
    expect(await pending()).toEqual([])
  })

  it('right after a claimer’s claim costs the claimed entries no delivery', async () => {
    const { server, redis, raw, publish, pending, age } = await startScenario()
    await publish('a', 'b')
    await poll(
      billing(() => {}, { mode: 'once', batchSize: 1 }),
      { redis },
    )
    await publish('c')
    await raw.xreadgroup('GROUP', 'billing', 'poller-9', 'COUNT', 9, 'STREAMS', 'orders', '>') // and its process dies
    await age(60_000)
    const proxy = await startFaultProxy(server)

    const starting = proxy.pauseOn(String(evalsha(startClaimedScript, '', [], [])[1]))
    const victim = startVictim({ url: proxy.url, action: 'claim', options: {} })
    await starting
    await victim.kill()
    await proxy.close()
    expect(await pending()).toEqual([
      ['b', 'claimer-0', 1],
      ['c', 'claimer-0', 1],
    ])

    await age(60_000)
    const { calls, handler } = noting()
    await claimOnce(billing(handler), { redis })
    expect(calls).toEqual(['b', 'c'])
  })

  it('before a take costs no delivery, after it one of what was taken', async () => {
    const { server, redis, raw, publish, pending, age } = await startScenario()
    const fail = billing(() => Promise.reject(new Error('no')), { backoff: { firstMs: 0 } })
    await publish('a', 'b')
    await poll(fail, { redis })
    const proxy = await startFaultProxy(server)

    const taking = proxy.pauseOn(String(evalsha(takeSetAsideScript, '', [], [])[1]))
    const victim = startVictim({ url: proxy.url, action: 'claim', options: {} })
    await taking
    await victim.kill()
    await proxy.close()
    const before = await pending()
    const hanging = startVictim({ url: server.url, action: 'claim', options: { concurrency: 1 }, handlerMs: 600_000 })
    while ((await pending()).every(([, owner]) => owner === 'parked'))
      await new Promise((resolve) => setImmediate(resolve))
    await hanging.kill()

    expect(before).toEqual([
      ['a', 'parked', 1],
      ['b', 'parked', 1],
    ])
    expect(await pending()).toEqual([
      ['a', 'claimer-1', 2],
      ['b', 'parked', 1],
    ])
    await age(60_000)
    await raw.del('{orders}:billing:slot:claimer-0', '{orders}:billing:slot:claimer-1')
    const { calls, handler } = noting()
    await claimOnce(billing(handler, { maxDeliveries: 9 }), { redis })
    expect(calls.toSorted()).toEqual(['a', 'b'])
  })
})
