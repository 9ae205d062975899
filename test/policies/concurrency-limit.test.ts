import { concurrencyLimit } from 'millrace'
import { expect, it } from 'vitest'
import { billing, describeEverywhere } from './world.ts'

describeEverywhere('concurrencyLimit()', (start) => {
  it('runs no more than max at once, over all invocations', async () => {
    const world = await start()
    let [running, peak] = [0, 0]
    const calls: string[] = []
    const consumer = billing(
      async ({ payload }) => {
        peak = Math.max(peak, ++running)
        await new Promise((resolve) => setTimeout(resolve, 5))
        calls.push(payload.id)
        running--
      },
      { use: [concurrencyLimit({ max: 2 })], batchSize: 5 },
    )
    const ids = Array.from({ length: 30 }, (_, n) => `p${10 + n}`)
    await world.publish(...ids)

    await Promise.all([world.poll(consumer), world.poll(consumer), world.claim(consumer)])
    for (let round = 0; calls.length < 30 && round < 10; round++) await world.poll(consumer)

    expect(calls.toSorted()).toEqual(ids)
    expect(peak).toBe(2)
    expect(await world.pending()).toEqual([])
  })
})
