import type { Policy } from 'millrace'
import { definePolicy } from 'millrace'
import { expect, it } from 'vitest'
import { billing, counts, describeEverywhere, loseAnswer } from './world.ts'

/** Parks whatever has a key until that key is called for. */
function waits(calledFor: ReadonlySet<string>): Policy {
  return definePolicy({
    name: 'waits',
    begin: () => ({
      admit: (jobs) =>
        jobs.map(({ event }) => {
          const { id } = (event as { payload: { id: string } }).payload
          return id.startsWith('w') && !calledFor.has(id) ? { action: 'park', until: `${id} is called for` } : undefined
        }),
      isOver: (until) => calledFor.has(until.split(' ')[0] as string),
    }),
  })
}

describeEverywhere('a policy whose entries wait for a condition', (start) => {
  it('has them started once it holds, at their first delivery, and not before', async () => {
    const world = await start()
    const calls: string[] = []
    const calledFor = new Set<string>()
    const consumer = billing(({ payload }, { deliveryCount }) => calls.push(`${payload.id} ${deliveryCount}`), {
      use: [waits(calledFor)],
    })
    await world.publish('w1', 'p1', 'w2')

    const parked = counts(await world.poll(consumer))
    await world.pass(120_000)
    const early = counts(await world.claim(consumer))
    calledFor.add('w1')
    const due = counts(await world.claim(consumer))

    expect(parked).toEqual({ read: 3, acked: 1, parked: 2, invoked: 1 })
    expect(early).toEqual({})
    expect(due).toEqual({ claimed: 1, acked: 1, invoked: 1 })
    expect(calls).toEqual(['p1 1', 'w1 1'])
    expect(await world.pending()).toEqual([['w2', 'parked', 0]])
  })

  it('takes nothing while a guard’s key is there', async () => {
    const world = await start()
    const calls: string[] = []
    const calledFor = new Set<string>()
    const guard = definePolicy({ name: 'closed', guard: () => ({ key: '{orders}:closed', holds: 'all' }) })
    const consumer = billing(({ payload }) => calls.push(payload.id), { use: [waits(calledFor), guard] })
    await world.publish('w1', 'w2')
    await world.poll(consumer)
    calledFor.add('w1').add('w2')
    await world.command('SET', '{orders}:closed', 1)

    const closed = counts(await world.claim(consumer))
    const left = await world.pending()
    await world.command('DEL', '{orders}:closed')
    const open = counts(await world.claim(consumer))

    expect(closed).toEqual({})
    expect(left).toEqual([
      ['w1', 'parked', 0],
      ['w2', 'parked', 0],
    ])
    expect(open).toEqual({ claimed: 2, acked: 2, invoked: 2 })
    expect(calls.toSorted()).toEqual(['w1', 'w2'])
  })

  it('looks once in a run at what is parked again at once', async () => {
    const world = await start()
    const fickle = definePolicy({
      name: 'fickle',
      begin: () => ({ admit: (jobs) => jobs.map(() => ({ action: 'park', until: 'now' })), isOver: () => true }),
    })
    const consumer = billing(() => {}, { use: [fickle] })
    await world.publish('w1', 'w2')

    await world.poll(consumer)
    const report = await world.claim(consumer)

    expect(counts(report)).toEqual({ claimed: 2, parked: 2 })
    expect(await world.pending()).toEqual([
      ['w1', 'parked', 0],
      ['w2', 'parked', 0],
    ])
  })

  it('has all of them again after the group was lost', async () => {
    const world = await start()
    const calls: string[] = []
    const calledFor = new Set<string>()
    const consumer = billing(({ payload }) => calls.push(payload.id), { use: [waits(calledFor)] })
    await world.publish('w1', 'w2')
    await world.poll(consumer)
    await world.claim(consumer)
    await world.loseGroup()
    calledFor.add('w1')

    await world.poll(consumer)
    const report = await world.claim(consumer)

    expect(counts(report)).toEqual({ claimed: 1, acked: 1, invoked: 1 })
    expect(calls).toEqual(['w1'])
    expect(await world.pending()).toEqual([['w2', 'parked', 0]])
  })

  it.each([1, 2])('has them again by it though the answer to read %i is lost', async (nth) => {
    const world = await start()
    const calls: string[] = []
    const calledFor = new Set<string>()
    const consumer = billing(({ payload }) => calls.push(payload.id), { use: [waits(calledFor)] })
    await world.publish('w1', 'p1')

    await loseAnswer(world, consumer, { nth, change: async () => void calledFor.add('w1') })

    expect(calls.toSorted()).toEqual(['p1', 'w1'])
  })
})
