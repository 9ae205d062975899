import {
  circuitBreaker,
  concurrencyLimit,
  definePolicy,
  effects,
  NonRetryableError,
  orderedBy,
  rateLimit,
} from 'millrace'
import { expect, it } from 'vitest'
import { billing, counts, describeEverywhere } from './world.ts'

/** The key of `a1` is `a`. */
const order = orderedBy(({ eventId }) => eventId?.replace(/\d+$/, ''))

const LANES = ['{orders}:billing:lanes', '{orders}:billing:lane-of']

describeEverywhere('a consumer with orderedBy()', (start) => {
  /** A handler that notes its calls, and fails where a test says so. */
  const noting = (fails: (id: string, deliveryCount: number) => unknown = () => {}) => {
    const calls: string[] = []
    return {
      calls,
      handle: ({ payload: { id } }: { payload: { id: string } }, { deliveryCount }: { deliveryCount: number }) => {
        calls.push(id)
        return fails(id, deliveryCount)
      },
    }
  }
  const failingOnce =
    (...ids: string[]) =>
    (id: string, deliveryCount: number) => {
      if (ids.includes(id) && deliveryCount === 1) throw new Error('once')
    }

  it('runs a key one by one, keys side by side', async () => {
    const world = await start()
    const open: string[] = []
    let most = 0
    const consumer = billing(
      async ({ payload: { id } }) => {
        expect(open).not.toContain(id[0])
        open.push(id[0] as string)
        most = Math.max(most, open.length)
        for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
        open.splice(open.indexOf(id[0] as string), 1)
      },
      { use: [order], concurrency: 4 },
    )
    await world.publish('a1', 'a2', 'b1', 'b2', 'c1', 'c2')

    expect(counts(await world.poll(consumer))).toEqual({ read: 6, acked: 6, invoked: 6 })
    expect(most).toBe(3)
  })

  it('sets what follows a failure aside behind it, and holds up no other key', async () => {
    const world = await start()
    const { calls, handle } = noting(failingOnce('a1'))
    const consumer = billing(handle, { use: [order], mode: 'once', concurrency: 2 })
    await world.publish('a1', 'a2', 'a3', 'b1')

    const report = await world.poll(consumer)

    expect(counts(report)).toEqual({ read: 4, acked: 1, retried: 1, parked: 2, invoked: 2 })
    expect(calls).toEqual(['a1', 'b1'])
    expect(await world.pending()).toEqual([
      ['a1', 'parked', 1],
      ['a2', 'parked', 0],
      ['a3', 'parked', 0],
    ])
    for (let round = 0; round < 3; round++) await world.claim(consumer)
    expect(calls).toEqual(['a1', 'b1', 'a1', 'a2', 'a3'])
    expect(await world.pending()).toEqual([])
  })

  it('has what is read later wait behind what failed', async () => {
    const world = await start()
    const { calls, handle } = noting(failingOnce('a1'))
    const consumer = billing(handle, {
      use: [order],
      mode: 'once',
      backoff: { firstMs: 60_000, factor: 1, maxMs: 60_000 },
    })
    await world.publish('a1')
    await world.poll(consumer)
    await world.publish('a2', 'b1')

    expect(counts(await world.poll(consumer))).toEqual({ read: 2, acked: 1, parked: 1, invoked: 1 })
    await world.claim(consumer)
    expect(calls).toEqual(['a1', 'b1'])
    await world.pass(120_000)
    for (let round = 0; round < 3; round++) await world.claim(consumer)
    expect(calls).toEqual(['a1', 'b1', 'a1', 'a2'])
  })

  it('drains the lane of a failed key in the same run, and leaves nothing of it', async () => {
    const world = await start()
    const { calls, handle } = noting(failingOnce('a1', 'a3'))
    const consumer = billing(handle, { use: [order], maxDeliveries: 5 })
    await world.publish('a1', 'a2', 'a3', 'a4', 'b1')

    await world.poll(consumer)

    expect(calls.filter((id) => id.startsWith('a'))).toEqual(['a1', 'a1', 'a2', 'a3', 'a3', 'a4'])
    expect(await world.pending()).toEqual([])
    for (const key of LANES) if (world.redis.append === undefined) expect(await world.command('HLEN', key)).toBe(0)
  })

  it('starts what is at its last delivery in the run that takes it', async () => {
    const world = await start()
    const { calls, handle } = noting(failingOnce('a1'))
    const failing = billing(handle, { use: [order], mode: 'once', maxDeliveries: 2 })
    await world.publish('a1', 'a2')
    await world.poll(failing)

    const report = await world.poll(billing(handle, { use: [order], maxDeliveries: 2 }))

    expect(counts(report)).toEqual({ claimed: 2, acked: 2, invoked: 2 })
    expect(calls).toEqual(['a1', 'a1', 'a2'])
  })

  it('does not read again and again above maxParked, for one at its last delivery', async () => {
    const world = await start()
    const { calls, handle } = noting(failingOnce('a1'))
    await world.publish('a1', 'a2')
    await world.poll(billing(handle, { use: [order], mode: 'once', maxDeliveries: 2 }))

    const report = await world.poll(billing(handle, { use: [order], maxDeliveries: 2, maxParked: 1 }))

    expect(counts(report)).toEqual({ claimed: 2, acked: 2, invoked: 2 })
    expect(report.roundTrips).toBeLessThan(20)
    expect(calls).toEqual(['a1', 'a1', 'a2'])
  })

  it('goes on after a dead letter', async () => {
    const world = await start()
    const { calls, handle } = noting((id) => {
      if (id === 'a1') throw new NonRetryableError('never')
    })
    await world.publish('a1', 'a2')

    const report = await world.poll(billing(handle, { use: [order] }))

    expect(counts(report)).toEqual({ read: 2, acked: 1, deadLettered: 1, invoked: 2 })
    expect(calls).toEqual(['a1', 'a2'])
  })

  it('keeps no order among events without a key', async () => {
    const world = await start()
    const { calls, handle } = noting(failingOnce('a1'))
    const consumer = billing(handle, { use: [orderedBy(() => undefined)], mode: 'once' })
    await world.publish('a1', 'a2')

    expect(counts(await world.poll(consumer))).toEqual({ read: 2, acked: 1, retried: 1, invoked: 2 })
    await world.claim(consumer)
    expect(calls).toEqual(['a1', 'a2', 'a1'])
    expect(await world.pending()).toEqual([])
  })

  it('starts the next once the effects of the one before are written', async () => {
    const world = await start()
    const seen: unknown[] = []
    const consumer = billing(
      async (event, context) => {
        seen.push(await world.command('GET', '{orders}:done'))
        effects(context as never).set('{orders}:done', event.payload.id)
      },
      { use: [order], concurrency: 4 },
    )
    await world.publish('a1', 'a2', 'a3')

    for (let round = 0; round < 3; round++) await world.poll(consumer)

    expect(seen.map((value) => (value === null ? null : String(value)))).toEqual([null, 'a1', 'a2'])
    expect(await world.pending()).toEqual([])
  })

  it('has a key wait behind an entry that its circuit breaker refuses', async () => {
    const world = await start()
    const { calls, handle } = noting((id) => {
      if (id === 'b1') throw new Error('out')
    })
    const breaker = circuitBreaker({ failures: 1, perMs: 60_000, probeAfterMs: 3_600_000 })
    const consumer = billing(handle, { use: [order, breaker], concurrency: 1, mode: 'once' })
    await world.publish('b1', 'a1', 'a2')

    await world.poll(consumer)

    expect(calls).toEqual(['b1'])
    expect((await world.pending()).map(([id]) => id)).toEqual(['b1', 'a1', 'a2'])
  })

  it.each([
    ['a concurrency limit', concurrencyLimit({ max: 2 })],
    ['a rate limit', rateLimit({ max: 1_000, perMs: 1_000 })],
  ])('keeps its order under %s', async (_name, policy) => {
    const world = await start()
    const { calls, handle } = noting(failingOnce('a2'))
    const consumer = billing(handle, { use: [order, policy], concurrency: 4 })
    await world.publish('a1', 'a2', 'a3', 'a4')

    await world.poll(consumer)
    for (let round = 0; round < 4; round++) await world.claim(consumer)

    expect(calls).toEqual(['a1', 'a2', 'a2', 'a3', 'a4'])
  })

  it('has a key wait behind what another policy parks, and does not call it before', async () => {
    const world = await start()
    const { calls, handle } = noting()
    let isParked = true
    const parking = definePolicy({
      name: 'parking',
      begin: () => ({
        admit: (jobs) =>
          jobs.map(({ event }) =>
            isParked && event?.eventId === 'a1' ? { action: 'park' as const, delayMs: 0 } : undefined,
          ),
      }),
    })
    const consumer = billing(handle, { use: [order, parking], mode: 'once' })
    await world.publish('a1', 'a2', 'b1')

    await world.poll(consumer)
    expect(calls).toEqual(['b1'])
    isParked = false
    for (let round = 0; round < 3; round++) await world.claim(consumer)

    expect(calls).toEqual(['b1', 'a1', 'a2'])
  })

  it('has a key wait behind an expired entry only until that is a dead letter', async () => {
    const world = await start()
    const { calls, handle } = noting()
    await world.publish('a1')
    await new Promise((resolve) => setTimeout(resolve, 40))
    await world.publish('a2')

    const report = await world.poll(billing(handle, { use: [order], maxAgeMs: 30 }))

    expect(report.deadLettered + report.acked).toBe(2)
    expect(calls.every((id) => id === 'a2')).toBe(true)
  })

  it('keeps the order of a group that is lost in between', async () => {
    const world = await start()
    const { calls, handle } = noting(failingOnce('a1'))
    const consumer = billing(handle, { use: [order], mode: 'once' })
    await world.publish('a1', 'a2')
    await world.poll(consumer)
    await world.claim(billing(handle, { use: [order], mode: 'once', concurrency: 1 }))
    await world.loseGroup()
    calls.length = 0
    await world.publish('a3')

    for (let round = 0; round < 5; round++) {
      await world.poll(consumer)
      await world.claim(consumer)
      await world.pass(120_000)
    }

    expect(calls.filter((id, n) => calls.indexOf(id) === n)).toEqual([...new Set(calls)].sort())
    expect(calls.at(-1)).toBe('a3')
    expect(await world.pending()).toEqual([])
  })

  it('makes lanes of what a group without order had set aside', async () => {
    const world = await start()
    const { calls, handle } = noting((id, deliveryCount) => {
      if (deliveryCount === 1 && id !== 'a3') throw new Error('once')
    })
    await world.publish('a1', 'a2', 'b1')
    await world.poll(billing(handle, { mode: 'once' }))
    calls.length = 0
    await world.publish('a3')
    const ordered = billing(handle, { use: [order], mode: 'once' })

    for (let round = 0; round < 4; round++) {
      await world.poll(ordered)
      await world.claim(ordered)
    }

    expect(calls.filter((id) => id.startsWith('a'))).toEqual(['a1', 'a2', 'a3'])
    expect(await world.pending()).toEqual([])
  })

  it('gives back what waits in order to a group without', async () => {
    const world = await start()
    const { calls, handle } = noting(failingOnce('a1'))
    await world.publish('a1', 'a2', 'a3')
    await world.poll(billing(handle, { use: [order], mode: 'once' }))
    const plain = billing(handle, { mode: 'once' })

    for (let round = 0; round < 3; round++) await world.claim(plain)

    expect(calls.toSorted()).toEqual(['a1', 'a1', 'a2', 'a3'])
    expect(await world.pending()).toEqual([])
  })
})
