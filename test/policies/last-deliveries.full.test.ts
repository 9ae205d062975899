import { circuitBreaker } from 'millrace'
import { expect, it } from 'vitest'
import type { World } from './world.ts'
import { billing, describeEverywhere } from './world.ts'

const HOUR_MS = 3_600_000
const breaker = (probeAfterMs: number) => ({ use: [circuitBreaker({ failures: 5, perMs: HOUR_MS, probeAfterMs })] })
const sleep = (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms))

/** Goes on until nothing is pending, or so many claims were made. @returns How many became dead letters. */
async function claims(world: World, consumer: ReturnType<typeof billing>, most: number): Promise<number> {
  let deadLettered = 0
  for (let n = 0; n < most && (await world.pending()).length > 0; n++) {
    await world.pass(1_000)
    deadLettered += (await world.claim(consumer)).deadLettered
    await sleep(60)
  }
  return deadLettered
}

describeEverywhere('circuitBreaker(), at last deliveries', (start) => {
  it.each([1, 3])('makes no dead letter of the only entry in an outage, with %i deliveries', async (maxDeliveries) => {
    const world = await start()
    let isOut = true
    let calls = 0
    const consumer = billing(
      () => {
        calls++
        if (isOut) throw new Error('out')
      },
      { ...breaker(50), maxDeliveries },
    )
    await world.publish('p1')
    const first = await world.poll(consumer)
    const dead = first.deadLettered + (await claims(world, consumer, 8))
    const spent = await world.pending()
    isOut = false
    const deadAfter = await claims(world, consumer, 8)

    expect([dead, deadAfter, spent.map(([id, , count]) => [id, count])]).toEqual([0, 0, [['p1', maxDeliveries - 1]]])
    expect(calls).toBeGreaterThan(maxDeliveries + 2)
    expect(await world.pending()).toEqual([])
  })

  it('leaves a poison entry between others that succeed to become a dead letter', async () => {
    const world = await start()
    const calls: string[] = []
    const consumer = billing(
      ({ payload }) => {
        calls.push(payload.id)
        if (payload.id === 'p1') throw new Error('poison')
      },
      { ...breaker(HOUR_MS), maxDeliveries: 3, concurrency: 1 },
    )
    await world.publish('p1', 'p2')
    const reports = [await world.poll(consumer)]
    for (const id of ['p3', 'p4', 'p5']) {
      await world.publish(id)
      reports.push(await world.poll(consumer))
      await world.pass(1_000)
      reports.push(await world.claim(consumer))
    }

    expect(calls.filter((id) => id === 'p1')).toHaveLength(3)
    expect(reports.map(({ circuitOpen }) => circuitOpen).filter(Boolean)).toEqual([])
    expect(reports.reduce((sum, { deadLettered }) => sum + deadLettered, 0)).toBe(1)
    expect(await world.pending()).toEqual([])
  })

  it('leaves a poison entry that opened it to become a dead letter once another has succeeded', async () => {
    const world = await start()
    const consumer = billing(
      ({ payload }) => {
        if (payload.id === 'p1') throw new Error('poison')
      },
      { ...breaker(50), maxDeliveries: 1 },
    )
    await world.publish('p1')
    const first = await world.poll(consumer)
    await world.publish('p2')
    await sleep(60)
    await world.poll(consumer)

    const dead = await claims(world, consumer, 8)

    expect([first.circuitOpen, first.deadLettered, dead]).toEqual([1, 0, 1])
    expect(await world.pending()).toEqual([])
  })

  it('notes a success only where one has failed', async () => {
    const world = await start()
    let isOut = true
    const consumer = billing(() => {
      if (isOut) throw new Error('out')
    }, breaker(50))
    const noted = async () => {
      const fields = [await world.command('HGETALL', consumer.keys.breakers)].flat() as string[]
      return fields.filter((_, n) => n % 2 === 0)
    }
    isOut = false
    await world.publish('p1')
    await world.poll(consumer)
    const before = await noted()
    isOut = true
    await world.publish('p2')
    await world.poll(consumer)
    const failing = await noted()
    isOut = false
    await world.publish('p3')
    await world.poll(consumer)

    expect([before, failing, await noted()]).toEqual([[], ['fails Paid'], ['worked Paid']])
  })
})
