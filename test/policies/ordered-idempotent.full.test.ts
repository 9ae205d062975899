import { idempotent, NonRetryableError, orderedBy } from 'millrace'
import { expect, it } from 'vitest'
import { billing, counts, describeEverywhere } from './world.ts'

type Handled = { payload: { id: string; key?: string | undefined } }

/** The key of `a1` is `a`. `a1/x` is one of those that are event x. */
const order = orderedBy(({ eventId }) => eventId?.replace(/\d+$/, ''))
const once = idempotent({ ttlMs: 86_400_000, by: ({ payload }) => (payload as Handled['payload']).key })

/** A handler that notes its calls, and fails where a test says so. */
function noting(fails: (id: string, deliveryCount: number) => unknown = () => {}) {
  const calls: string[] = []
  const handle = ({ payload: { id } }: Handled, { deliveryCount }: { deliveryCount: number }) => {
    calls.push(id)
    return fails(id, deliveryCount)
  }
  return { calls, handle }
}

const failingOnce =
  (...ids: string[]) =>
  (id: string, deliveryCount: number) => {
    if (ids.includes(id) && deliveryCount === 1) throw new Error('once')
  }

describeEverywhere('idempotent() beside orderedBy()', (start) => {
  it('acknowledges a duplicate, and its key goes on', async () => {
    const world = await start()
    const { calls, handle } = noting()
    const consumer = billing(handle, { use: [order, once] })
    await world.publish('a1/x', 'a2/x', 'a3/y', 'b1/y', 'b2/z')

    const report = await world.poll(consumer)

    expect(calls).toEqual(['a1', 'a3', 'b2'])
    expect(counts(report)).toEqual({ read: 5, acked: 5, duplicates: 2, invoked: 3 })
    expect(await world.pending()).toEqual([])
  })

  it('goes on in the same run behind duplicates of events that were handled before', async () => {
    const world = await start()
    const { calls, handle } = noting()
    const consumer = billing(handle, { use: [order, once], concurrency: 2 })
    await world.publish('a1/x', 'b1/y')
    await world.poll(consumer)
    await world.publish('a2/x', 'a3/y', 'a4/z', 'b2/x', 'b3/v')

    const report = await world.poll(consumer)

    expect(calls.slice(2).toSorted()).toEqual(['a4', 'b3'])
    expect(counts(report)).toEqual({ read: 5, acked: 5, duplicates: 3, invoked: 2 })
  })

  it('has the key of a duplicate wait for an original that failed', async () => {
    const world = await start()
    const { calls, handle } = noting(failingOnce('a1'))
    const consumer = billing(handle, { use: [order, once], mode: 'once' })
    await world.publish('a1/x', 'b1/x', 'b2/y', 'c1/z')

    await world.poll(consumer)

    expect(calls).toEqual(['a1', 'c1'])
    for (let round = 0; round < 9; round++) {
      await world.pass(15_000)
      await world.claim(consumer)
    }
    expect(calls).toEqual(['a1', 'c1', 'a1', 'b2'])
    expect(await world.pending()).toEqual([])
  })

  it('has a duplicate handled whose original became a dead letter, in its turn', async () => {
    const world = await start()
    const { calls, handle } = noting((id) => {
      if (id === 'a1') throw new NonRetryableError('never')
    })
    const consumer = billing(handle, { use: [order, once], mode: 'once' })
    await world.publish('a1/x', 'b1/x', 'b2/y')

    await world.poll(consumer)
    for (let round = 0; round < 9; round++) {
      await world.pass(15_000)
      await world.claim(consumer)
    }

    expect(calls).toEqual(['a1', 'b1', 'b2'])
    expect(await world.pending()).toEqual([])
  })

  it('holds up neither of two keys whose duplicates are crossed', async () => {
    const world = await start()
    const { calls, handle } = noting(failingOnce('a1', 'b1'))
    const consumer = billing(handle, { use: [order, once], mode: 'once' })
    await world.publish('a1/x', 'b1/y', 'a2/y', 'b2/x', 'a3/v', 'b3/w')

    await world.poll(consumer)
    for (let round = 0; round < 9; round++) {
      await world.pass(15_000)
      await world.claim(consumer)
    }

    expect(calls.toSorted()).toEqual(['a1', 'a1', 'a3', 'b1', 'b1', 'b3'])
    expect(await world.pending()).toEqual([])
  })

  it('has an original that waits in its lane go before its duplicate of another key', async () => {
    const world = await start()
    const { calls, handle } = noting(failingOnce('a1'))
    const consumer = billing(handle, { use: [order, once], mode: 'once' })
    await world.publish('a1/x', 'a2/y', 'b1/y', 'b2/z')

    for (let round = 0; round < 9; round++) {
      await world.poll(consumer)
      await world.claim(consumer)
      await world.pass(15_000)
    }

    expect(calls).toEqual(['a1', 'a1', 'a2', 'b2'])
    expect(await world.pending()).toEqual([])
  })

  it('keeps a key waiting behind what was taken for a duplicate and is none', async () => {
    const world = await start()
    const { calls, handle } = noting()
    const consumer = billing(
      async (event, context) => {
        handle(event, context)
        // the marker is gone before the duplicate is settled
        if (event.payload.id === 'c1') await world.command('DEL', consumer.keys.marker('by:Paid:x'))
      },
      { use: [order, once], concurrency: 1, mode: 'once' },
    )
    await world.publish('a1/x')
    await world.poll(consumer)
    await world.publish('c1/z', 'b1/x', 'b2/y')

    expect(counts(await world.poll(consumer))).toMatchObject({ read: 3, parked: 2 })
    for (let round = 0; round < 4; round++) {
      await world.pass(15_000)
      await world.claim(consumer)
    }

    expect(calls).toEqual(['a1', 'c1', 'b1', 'b2'])
    expect(await world.pending()).toEqual([])
  })

  it('goes on where the server forgets its scripts', async () => {
    const world = await start()
    const { calls, handle } = noting(failingOnce('a1'))
    const consumer = billing(
      async (event, context) => {
        await world.command('SCRIPT', 'FLUSH')
        return handle(event, context)
      },
      { use: [order, once] },
    )
    await world.publish('a1/v', 'a2/w', 'a3/x', 'a4/y', 'a5/z')

    await world.poll(consumer)
    for (let round = 0; round < 6; round++) await world.claim(consumer)

    expect(calls).toEqual(['a1', 'a1', 'a2', 'a3', 'a4', 'a5'])
    expect(await world.pending()).toEqual([])
  })

  it('waits for no read between the events of a key', async () => {
    const world = await start()
    const { calls, handle } = noting()
    const ids = Array.from({ length: 30 }, (_, n) => `a${n + 1}`)
    await world.publish(...ids.map((id) => `${id}/${id}`))

    const report = await world.poll(billing(handle, { use: [order, once], mode: 'once' }))

    // an empty read would be 50 ms and more after the one before
    expect([calls, report.read]).toEqual([ids, 30])
    expect(report.roundTrips).toBeLessThan(50)
    expect(report.durationMs).toBeLessThan(1_200)
  })
})
