import type { Policy } from 'millrace'
import { definePolicy } from 'millrace'
import { expect, it } from 'vitest'
import { billing, counts, describeEverywhere, loseAnswer } from './world.ts'

/** Parks what comes before a time, on the run's clock. */
function parksUntil(time: { ms: number }): Policy {
  return definePolicy({
    name: 'parksUntil',
    begin: (run) => ({
      admit: (jobs) => {
        const waitMs = time.ms - run.now()
        return jobs.map(() => (waitMs > 0 ? { action: 'park', delayMs: waitMs } : undefined))
      },
    }),
  })
}

describeEverywhere('a policy that parks until a time', (start) => {
  it('sets entries aside at no delivery, and has them back after it', async () => {
    const world = await start()
    const calls: string[] = []
    const time = { ms: Date.now() + 3_600_000 }
    const consumer = billing(({ payload }, { deliveryCount }) => calls.push(`${payload.id} ${deliveryCount}`), {
      use: [parksUntil(time)],
      maxDeliveries: 1,
    })
    await world.publish('p1', 'p2')

    const parked = counts(await world.poll(consumer))
    const before = await world.pending()
    await world.pass(60_000)
    const early = counts(await world.claim(consumer))
    await world.pass(3_600_000)
    time.ms = 0
    const due = counts(await world.claim(consumer))

    expect(parked).toEqual({ read: 2, parked: 2 })
    expect(before).toEqual([
      ['p1', 'parked', 0],
      ['p2', 'parked', 0],
    ])
    expect(early).toEqual({})
    expect(due).toEqual({ claimed: 2, acked: 2, invoked: 2 })
    expect(calls.sort()).toEqual(['p1 1', 'p2 1'])
  })

  it.each([1, 2])('uses up no delivery though the answer to read %i is lost', async (nth) => {
    const world = await start()
    const calls: string[] = []
    const time = { ms: Date.now() + 3_600_000 }
    const consumer = billing(({ payload }, { deliveryCount }) => calls.push(`${payload.id} ${deliveryCount}`), {
      use: [parksUntil(time)],
      maxDeliveries: 1,
    })
    await world.publish('p1')
    const change = async () => {
      time.ms = 0
      await world.pass(3_600_000)
    }

    await loseAnswer(world, consumer, { nth, change })

    expect(calls).toEqual(['p1 1'])
  })
})
