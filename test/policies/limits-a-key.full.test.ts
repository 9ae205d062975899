import type { Policy, PolicyJob } from 'millrace'
import { definePolicy } from 'millrace'
import { expect, it } from 'vitest'
import { billing, counts, describeEverywhere, loseAnswer } from './world.ts'

const keyOf = ({ event }: PolicyJob) => (event?.payload as { key?: string } | undefined)?.key ?? ''

/** Runs at most so many of a key side by side. */
function limitsKey(most: number): Policy {
  return definePolicy({
    name: 'limitsKey',
    begin() {
      const running = new Map<string, number>()
      const add = (job: PolicyJob, n: number) => void running.set(keyOf(job), (running.get(keyOf(job)) ?? 0) + n)
      return {
        holds: (job) => (running.get(keyOf(job)) ?? 0) >= most,
        started: (job) => add(job, 1),
        ended(job) {
          add(job, -1)
          return undefined
        },
      }
    },
  })
}

describeEverywhere("a policy that limits a key's concurrency", (start) => {
  it('runs so many of a key, and others beside them', async () => {
    const world = await start()
    const running = new Map<string, number>()
    const peaks = new Map<string, number>()
    const consumer = billing(
      async ({ payload: { key = '' } }) => {
        running.set(key, (running.get(key) ?? 0) + 1)
        peaks.set(key, Math.max(peaks.get(key) ?? 0, running.get(key) ?? 0))
        for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
        running.set(key, (running.get(key) ?? 0) - 1)
      },
      { use: [limitsKey(2)], concurrency: 6 },
    )
    await world.publish('p1/a', 'p2/a', 'p3/a', 'p4/a', 'p5/b', 'p6/c')

    const report = await world.poll(consumer)

    expect(counts(report)).toEqual({ read: 6, acked: 6, invoked: 6 })
    expect(Object.fromEntries(peaks)).toEqual({ a: 2, b: 1, c: 1 })
  })

  it('releases at no delivery what it held back to the end of the time', async () => {
    const world = await start()
    const consumer = billing(() => {}, { use: [limitsKey(0)], handlerTimeoutMs: 100, reserveMs: 100 })
    await world.publish('p1/a', 'p2/b')

    const report = await world.poll(consumer, { remainingMs: 500 })

    expect(counts(report)).toEqual({ read: 2, released: 2 })
    expect(await world.pending()).toEqual([
      ['p1', 'parked', 0],
      ['p2', 'parked', 0],
    ])
  })

  it.each([1, 2])('runs no more of a key though the answer to read %i is lost', async (nth) => {
    const world = await start()
    const calls: string[] = []
    let [running, peak] = [0, 0]
    const consumer = billing(
      async ({ payload }) => {
        peak = Math.max(peak, ++running)
        calls.push(payload.id)
        for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
        running--
      },
      { use: [limitsKey(2)], concurrency: 6 },
    )
    await world.publish('p1/a', 'p2/a', 'p3/a', 'p4/a')

    await loseAnswer(world, consumer, { nth })

    expect(peak).toBeLessThanOrEqual(2)
    expect(calls.toSorted()).toEqual(['p1', 'p2', 'p3', 'p4'])
  })
})
