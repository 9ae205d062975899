import type { Policy } from 'millrace'
import { defineConsumer, definePolicy, on } from 'millrace'
import { expect, it } from 'vitest'
import { billing, counts, describeEverywhere, loseAnswer, Paid } from './world.ts'

const WAITING = '{orders}:billing:waiting'

/** Parks for an hour whatever has a key, until it is called for by a score of its own in the index. */
function waits(calledFor: ReadonlySet<string>, delayMs = 3_600_000): Policy {
  return definePolicy({
    name: 'waits',
    index: () => WAITING,
    begin: () => ({
      admit: (jobs) =>
        jobs.map(({ event }) => {
          const { id } = (event as { payload: { id: string } }).payload
          return id.startsWith('w') && !calledFor.has(id) ? { action: 'park', delayMs } : undefined
        }),
    }),
  })
}

describeEverywhere('a policy whose entries come back by an index', (start) => {
  it('has them started as soon as they are due, at their first delivery, and not before', async () => {
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
    const [first = ''] = (await world.command('ZRANGEBYSCORE', WAITING, '-inf', '+inf')) as string[]
    await world.command('ZADD', WAITING, 1, first)
    calledFor.add('w1')
    const due = counts(await world.claim(consumer))

    expect(parked).toEqual({ read: 3, acked: 1, parked: 2, invoked: 1 })
    expect(early).toEqual({})
    expect(due).toEqual({ claimed: 1, acked: 1, invoked: 1 })
    expect(calls).toEqual(['p1 1', 'w1 1'])
    expect(await world.pending()).toEqual([['w2', 'parked', 0]])
    expect(await world.command('ZRANGEBYSCORE', WAITING, '-inf', '+inf')).toHaveLength(1)
  })

  it('looks once in a run at what is parked again at once', async () => {
    const world = await start()
    const consumer = billing(() => {}, { use: [waits(new Set(), 0)] })
    await world.publish('w1', 'w2')

    await world.poll(consumer)
    const report = await world.claim(consumer)

    expect(counts(report)).toEqual({ claimed: 2, parked: 2 })
    expect(await world.pending()).toEqual([
      ['w1', 'parked', 0],
      ['w2', 'parked', 0],
    ])
  })

  it('starts all that is due, whatever the order of its ids', async () => {
    const world = await start()
    const calls: string[] = []
    const calledFor = new Set<string>()
    const consumer = billing(({ payload }) => calls.push(payload.id), { use: [waits(calledFor)] })
    await world.publish('w1', 'w2', 'w3')
    await world.poll(consumer)
    const ids = (await world.command('ZRANGEBYSCORE', WAITING, '-inf', '+inf')) as string[]
    for (const [n, id] of ids.entries()) await world.command('ZADD', WAITING, 10 - n, id)
    for (const id of ['w1', 'w2', 'w3']) calledFor.add(id)

    const report = await world.claim(consumer)

    expect(counts(report)).toEqual({ claimed: 3, acked: 3, invoked: 3 })
    expect(calls.toSorted()).toEqual(['w1', 'w2', 'w3'])
  })

  it('passes over what a guard keeps from starting, and leaves it in its index', async () => {
    const world = await start()
    const calls: string[] = []
    const calledFor = new Set<string>()
    const guard = definePolicy({ name: 'closed', guard: () => ({ key: '{orders}:closed', holds: 'all' }) })
    const consumer = billing(({ payload }) => calls.push(payload.id), { use: [waits(calledFor), guard] })
    await world.publish('w1', 'w2')
    await world.poll(consumer)
    for (const id of (await world.command('ZRANGEBYSCORE', WAITING, '-inf', '+inf')) as string[])
      await world.command('ZADD', WAITING, 1, id)
    calledFor.add('w1').add('w2')
    await world.command('SET', '{orders}:closed', 1)

    const closed = counts(await world.claim(consumer))
    const left = await world.pending()
    await world.command('DEL', '{orders}:closed')
    const open = counts(await world.claim(consumer))

    expect(closed).toEqual({ claimed: 2, released: 2 })
    expect(left).toEqual([
      ['w1', 'parked', 0],
      ['w2', 'parked', 0],
    ])
    expect(open).toEqual({ claimed: 2, acked: 2, invoked: 2 })
  })

  it('finds what was left behind by its age, as without an index', async () => {
    const world = await start()
    const calls: string[] = []
    const fails = new Set(['p1'])
    const consumer = billing(
      ({ payload }, { deliveryCount }) => {
        calls.push(`${payload.id} ${deliveryCount}`)
        if (fails.delete(payload.id)) throw new Error('not today')
      },
      { use: [waits(new Set())] },
    )
    await world.publish('w1', 'p1')

    await world.poll(consumer)
    await world.pass(120_000)
    const report = counts(await world.claim(consumer))

    expect(report).toEqual({ claimed: 1, acked: 1, invoked: 1 })
    expect(calls).toEqual(['p1 1', 'p1 2'])
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

    const report = await world.poll(consumer)

    expect(report.groupRecreated).toBe(true)
    expect(calls).toEqual(['w1'])
    expect(await world.pending()).toEqual([['w2', 'parked', 0]])
    expect(await world.command('ZRANGEBYSCORE', WAITING, '-inf', '+inf')).toHaveLength(1)
  })

  it.each([1, 2])('has them again by it though the answer to read %i is lost', async (nth) => {
    const world = await start()
    const calls: string[] = []
    const calledFor = new Set<string>()
    const consumer = billing(({ payload }) => calls.push(payload.id), { use: [waits(calledFor)] })
    await world.publish('w1', 'p1')
    const change = async () => {
      calledFor.add('w1')
      for (const id of (await world.command('ZRANGEBYSCORE', WAITING, '-inf', '+inf')) as string[])
        await world.command('ZADD', WAITING, 1, id)
    }

    await loseAnswer(world, consumer, { nth, change })

    expect(calls.toSorted()).toEqual(['p1', 'w1'])
    expect(await world.command('EXISTS', WAITING)).toBe(0)
  })
})

it.each([
  ['a key of another hash slot', () => 'elsewhere'],
  ['one of the group’s own keys', () => '{orders}:billing:due'],
  ['no key', () => undefined as never],
])('an index that is %s is refused when the consumer is defined', (_what, index) => {
  const define = () => billing(() => {}, { use: [definePolicy({ name: 'waits', index })] })

  expect(define).toThrow('index of "waits" must be a key of its own in the stream\'s hash slot')
})

it('an index on a route is refused when the consumer is defined', () => {
  const use = [definePolicy({ name: 'waits', index: () => WAITING })]
  const define = () => defineConsumer({ stream: 'orders', group: 'billing', routes: [on(Paid, () => {}, { use })] })

  expect(define).toThrow('"waits" must be used on the consumer, got it on "Paid"')
})
