import { rateLimit } from 'millrace'
import { expect, it } from 'vitest'
import { billing, counts, describeEverywhere } from './world.ts'

/** The most that are in any window. */
function mostWithin(times: readonly number[], perMs: number): number {
  return Math.max(0, ...times.map((from) => times.filter((at) => at >= from && at < from + perMs).length))
}

describeEverywhere('rateLimit()', (start) => {
  it('starts no more than max in any window, and nearly as many, though nobody else runs', async () => {
    const world = await start()
    const calls: [id: string, at: number][] = []
    const consumer = billing(({ payload }) => calls.push([payload.id, performance.now()]), {
      use: [rateLimit({ max: 10, perMs: 400 })],
    })
    const ids = Array.from({ length: 40 }, (_, n) => `p${n}`)
    await world.publish(...ids)

    const report = await world.poll(consumer)

    expect(calls.map(([id]) => id).toSorted()).toEqual(ids.toSorted())
    const times = calls.map(([, at]) => at)
    expect(mostWithin(times, 400)).toBeLessThanOrEqual(10)
    // by a machine's real clock; rate-used.test.ts says how many where nothing stalls
    expect(39 / (((times.at(-1) as number) - (times[0] as number)) / 400)).toBeGreaterThan(0.65 * 10)
    expect(report).toMatchObject({ read: 40, acked: 40, invoked: 40, retried: 0, deadLettered: 0 })
    expect(await world.pending()).toEqual([])
  })

  it('sets aside at no delivery what has its turn later, and lets other types flow', async () => {
    const world = await start()
    const calls: string[] = []
    const consumer = billing(({ payload }) => calls.push(payload.id), {
      use: [rateLimit({ max: 1, perMs: 60_000, by: ({ type }) => (type === 'Paid' ? 'paid' : undefined) })],
    })
    await world.publish('p1', 'p2', 'p3', 's1', 's2')

    const report = await world.poll(consumer)

    expect(calls.toSorted()).toEqual(['p1', 's1', 's2'])
    expect(counts(report)).toEqual({ read: 5, acked: 3, invoked: 3, parked: 2 })
    expect(report.rateLimited).toBe(2)
    expect(await world.pending()).toEqual([
      ['p2', 'parked', 0],
      ['p3', 'parked', 0],
    ])
  })
})
