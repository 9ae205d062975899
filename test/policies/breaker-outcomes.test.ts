import { circuitBreaker } from 'millrace'
import { closeBreakers, openBreakers } from 'millrace/operate'
import { expect, it } from 'vitest'
import { parseBreakers } from '../../src/core/gates.ts'
import { billing, describeEverywhere } from './world.ts'

describeEverywhere('what is left of circuit breakers', (start) => {
  it('is a field a type, which nobody takes for an open one', async () => {
    const world = await start()
    let isOut = true
    const consumer = billing(
      () => {
        if (isOut) throw new Error('out')
      },
      { use: [circuitBreaker({ failures: 2, perMs: 60_000, probeAfterMs: 1 })], concurrency: 1, maxDeliveries: 9 },
    )
    const fields = async () => {
      const flat = (await world.command('hgetall', consumer.keys.breakers)) as readonly string[] | object
      const names = Array.isArray(flat) ? (flat as string[]).filter((_, n) => n % 2 === 0) : Object.keys(flat)
      return names.toSorted()
    }
    const left: string[][] = []

    for (let outage = 0; outage < 4; outage++) {
      isOut = true
      await world.publish('p1', 'p2', 'p3', 's1', 's2', 's3')
      await world.poll(consumer)
      expect((await openBreakers(consumer, { redis: world.redis })).map((one) => one.eventType)).toEqual([
        'Paid',
        'Shipped',
      ])
      isOut = false
      for (let round = 0; round < 9 && (await world.pending()).length > 0; round++) {
        await world.pass(2_000)
        await world.claim(consumer)
      }
      expect(await openBreakers(consumer, { redis: world.redis })).toEqual([])
      left.push(await fields())
      expect(await closeBreakers(consumer, { redis: world.redis })).toEqual([])
      expect(await fields()).toEqual(left.at(-1))
    }

    expect(await world.pending()).toEqual([])
    for (const names of left) expect(names).toEqual(['worked Paid', 'worked Shipped'])
  })
})

describeEverywhere('a circuit breaker that was closed by hand', (start) => {
  it('leaves nothing of what failed before', async () => {
    const world = await start()
    const fails = () => Promise.reject(new Error('out'))
    const breaker = circuitBreaker({ failures: 2, perMs: 60_000, probeAfterMs: 60_000 })
    const consumer = billing(fails, { use: [breaker], concurrency: 1, maxDeliveries: 9 })
    await world.publish('p1', 'p2', 'p3')
    await world.poll(consumer)

    expect(await closeBreakers(consumer, { redis: world.redis })).toHaveLength(1)

    const flat = (await world.command('hgetall', consumer.keys.breakers)) as object
    expect(Object.keys(flat)).toEqual([])
  })
})

it('a reader that knows open circuit breakers alone leaves out whatever else the hash has', () => {
  const open = [
    ['until a b', '5'],
    ['opened a b', '1'],
    ['error a b', 'Error'],
  ] as const
  const others = [
    ['fails a b', '1'],
    ['worked a b', '2'],
    ['worked c', '2'],
    ['later until', '9'],
    ['x', '1'],
  ] as const

  expect(parseBreakers([...others, ...open])).toEqual(parseBreakers(open))
  expect(parseBreakers(others)).toEqual([])
})
