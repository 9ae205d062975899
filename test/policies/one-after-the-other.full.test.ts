import type { Decision, PolicyJob } from 'millrace'
import { definePolicy } from 'millrace'
import { expect, it } from 'vitest'
import { billing, counts, describeEverywhere, loseAnswer } from './world.ts'

const keyOf = ({ event }: PolicyJob) => (event?.payload as { key?: string } | undefined)?.key ?? ''

/** Runs the entries of a key one after the other within a read; when one fails, those after it are parked. */
const oneByOne = definePolicy({
  name: 'oneByOne',
  begin() {
    const lanes = new Map<string, string[]>()
    return {
      admit(jobs) {
        for (const job of jobs) lanes.set(keyOf(job), [...(lanes.get(keyOf(job)) ?? []), job.entryId])
        return []
      },
      holds: (job) => lanes.get(keyOf(job))?.[0] !== job.entryId,
      ended(job, isDone) {
        const [, ...rest] = lanes.get(keyOf(job)) ?? []
        lanes.set(keyOf(job), isDone ? rest : [])
        return isDone ? undefined : new Map<string, Decision>(rest.map((id) => [id, { action: 'park', delayMs: 0 }]))
      },
    }
  },
})

describeEverywhere("a policy that runs a key's entries one after the other", (start) => {
  it('starts each when the one before has succeeded, keys side by side', async () => {
    const world = await start()
    const calls: string[] = []
    const consumer = billing(
      async ({ payload: { id } }) => {
        calls.push(`${id} starts`)
        for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
        calls.push(`${id} ends`)
      },
      { use: [oneByOne] },
    )
    await world.publish('p1/a', 'p2/a', 'p3/b')

    const report = await world.poll(consumer)

    expect(counts(report)).toEqual({ read: 3, acked: 3, invoked: 3 })
    expect(calls.filter((call) => !call.startsWith('p3'))).toEqual(['p1 starts', 'p1 ends', 'p2 starts', 'p2 ends'])
    expect(calls.slice(0, 2)).toEqual(['p1 starts', 'p3 starts'])
  })

  it('parks those after a failure, at no delivery', async () => {
    const world = await start()
    const calls: string[] = []
    const consumer = billing(
      ({ payload: { id } }) => {
        calls.push(id)
        if (id === 'p1') throw new Error('no')
      },
      { use: [oneByOne] },
    )
    await world.publish('p1/a', 'p2/a', 'p3/a', 'p4/b')

    const report = await world.poll(consumer)

    expect(counts(report)).toEqual({ read: 4, acked: 1, retried: 1, parked: 2, invoked: 2 })
    expect(calls).toEqual(['p1', 'p4'])
    expect(await world.pending()).toEqual([
      ['p1', 'parked', 1],
      ['p2', 'parked', 0],
      ['p3', 'parked', 0],
    ])
  })

  it.each([1, 2])('keeps to the order of a read though the answer to read %i is lost', async (nth) => {
    const world = await start()
    const calls: string[] = []
    const consumer = billing(
      async ({ payload: { id } }) => {
        calls.push(`${id} starts`)
        for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
        calls.push(`${id} ends`)
      },
      { use: [oneByOne] },
    )
    await world.publish('p1/a', 'p2/a')

    await loseAnswer(world, consumer, { nth })

    expect(calls).toEqual(['p1 starts', 'p1 ends', 'p2 starts', 'p2 ends'])
  })
})
