import { circuitBreaker } from 'millrace'
import { expect, it } from 'vitest'
import { billing, counts, describeEverywhere } from './world.ts'

describeEverywhere('circuitBreaker()', (start) => {
  it('leaves its type alone after so many failures, until a probe succeeds, and no other', async () => {
    const world = await start()
    const calls: string[] = []
    let isOut = true
    const consumer = billing(
      ({ payload }) => {
        calls.push(payload.id)
        if (isOut && payload.id.startsWith('p')) throw new Error('out')
      },
      { use: [circuitBreaker({ failures: 3, perMs: 60_000, probeAfterMs: 300 })], concurrency: 1, maxDeliveries: 3 },
    )
    await world.publish('p1', 'p2', 'p3', 'p4', 's1', 'p5')

    const first = await world.poll(consumer)

    expect(calls.toSorted()).toEqual(['p1', 'p2', 'p3', 's1'])
    expect(counts(first)).toEqual({ read: 6, acked: 1, invoked: 4, retried: 2, parked: 3 })
    expect([first.circuitOpen, first.consumers[0]?.openCircuits]).toEqual([3, ['Paid']])

    const early = await world.claim(consumer)
    expect(calls).toHaveLength(4)
    await world.pass(400)
    await new Promise((resolve) => setTimeout(resolve, 350))
    const probe = await world.claim(consumer)
    expect([calls.length, probe.invoked, early.invoked]).toEqual([5, 1, 0])
    const tried = calls.at(-1)

    await new Promise((resolve) => setTimeout(resolve, 350))
    isOut = false
    for (let round = 0; round < 3; round++) {
      await world.pass(2_000)
      await world.claim(consumer)
    }
    expect(calls[5], calls.join()).not.toBe(tried)
    expect(calls.slice(5).toSorted()).toEqual(['p1', 'p2', 'p3', 'p4', 'p5'])
    expect(await world.pending()).toEqual([])
  })
})
