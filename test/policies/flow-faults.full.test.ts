import type { Connection } from 'millrace'
import { circuitBreaker, concurrencyLimit, RedisConnectionError, rateLimit } from 'millrace'
import { expect, it } from 'vitest'
import { bothSides } from '../support/both-sides.ts'
import type { World } from './world.ts'
import { billing, counts, describeEverywhere } from './world.ts'

const HOUR_MS = 3_600_000

/** A connection to the same server which loses the answers to so many requests of gates. */
function losingAnswers(world: World, losses: number): Connection {
  let lost = 0
  return {
    group: (address, remainingMs) =>
      bothSides(world.redis.group(address, remainingMs), (both) => ({
        async ask(commands) {
          const replies = await both.ask(commands)
          if (lost++ < losses) throw new RedisConnectionError('the answer was lost')
          return replies
        },
      })),
    close: () => world.redis.close(),
  }
}

async function numberIn(world: World, key: string, field: string): Promise<number> {
  return Number(await world.command('HGET', key, field))
}

describeEverywhere('flow control', (start) => {
  it('takes one turn and one place though answers are lost', async () => {
    const world = await start()
    const calls: string[] = []
    const consumer = billing(({ payload }) => calls.push(payload.id), {
      use: [concurrencyLimit({ max: 1 }), rateLimit({ max: 1, perMs: HOUR_MS })],
    })
    await world.publish('p1')

    const report = await world.poll(consumer, { redis: losingAnswers(world, 1) })

    expect([calls, counts(report)]).toEqual([['p1'], { read: 1, acked: 1, invoked: 1 }])
    const free = await numberIn(world, '{orders}:billing:rate:*', 'free')
    expect(free - Date.now()).toBeLessThan(1.1 * HOUR_MS)
  })

  it('ends a run whose requests are not answered, and what it read costs no delivery', async () => {
    const world = await start()
    const consumer = billing(() => {}, { use: [rateLimit({ max: 10, perMs: 1_000 })] })
    await world.publish('p1', 'p2')

    const error: unknown = await world.poll(consumer, { redis: losingAnswers(world, 100) }).catch((e: unknown) => e)
    const left = await world.pending()

    expect(String(error)).toContain('the answer was lost')
    expect(left.map(([, , count]) => count)).toEqual([0, 0])
    await world.pass(120_000)
    await world.claim(consumer)
    expect(await world.pending()).toEqual([])
  })

  it('gives a place again once the lease of its holder is over', async () => {
    const world = await start()
    const calls: number[] = []
    const consumer = billing(() => void calls.push(performance.now()), { use: [concurrencyLimit({ max: 1 })] })
    await world.command('HSET', '{orders}:billing:places:*', '@poller-3:dead:1-0', Date.now() + 400)
    await world.publish('p1')
    const startedAt = performance.now()

    await world.poll(consumer)

    expect((calls[0] ?? 0) - startedAt).toBeGreaterThan(300)
    expect(await world.pending()).toEqual([])
  })

  it('tries the next entry once the lease of a probe is over', async () => {
    const world = await start()
    const calls: string[] = []
    const consumer = billing(({ payload }) => calls.push(payload.id), {
      use: [circuitBreaker({ failures: 1, perMs: HOUR_MS, probeAfterMs: HOUR_MS })],
    })
    const fields = ['opened Paid', 1, 'until Paid', 1, 'probe Paid', '1-0', 'held Paid', Date.now() + HOUR_MS]
    await world.command('HSET', '{orders}:billing:breakers', ...fields)
    await world.publish('p1', 'p2')
    const held = await world.poll(consumer)
    await world.command('HSET', '{orders}:billing:breakers', 'held Paid', Date.now() - 1)
    for (let round = 0; round < 3; round++) await world.claim(consumer)

    expect(counts(held)).toEqual({ read: 2, parked: 2 })
    expect(calls).toEqual(['p1', 'p2'])
    expect(await world.pending()).toEqual([])
  })

  it('keeps breakers, turns and places of a group that was lost', async () => {
    const world = await start()
    const calls: string[] = []
    const consumer = billing(({ payload }) => calls.push(payload.id), {
      use: [rateLimit({ max: 1, perMs: HOUR_MS, by: ({ payload }) => (payload as { key?: string }).key })],
    })
    await world.publish('p1/a', 'p2/a')
    await world.poll(consumer)
    await world.loseGroup()

    await world.poll(consumer)
    await world.claim(consumer)

    expect(calls).toEqual(['p1'])
    expect((await world.pending()).map(([id]) => id)).toContain('p2')
  })
})
