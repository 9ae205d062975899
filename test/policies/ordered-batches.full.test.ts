import type { BatchEvent, BatchHandler, BatchOptions, ConsumerOptions, OrderedByOptions, Route } from 'millrace'
import {
  circuitBreaker,
  concurrencyLimit,
  effects,
  NonRetryableError,
  on,
  onBatch,
  orderedBy,
  UnavailableError,
} from 'millrace'
import { expect, it } from 'vitest'
import { billing, counts, describeEverywhere, Paid, Shipped } from './world.ts'

/** The key of `a1`, and of `sa1`, which is of type Shipped, is `a`. */
const order = (options?: OrderedByOptions) =>
  orderedBy(({ eventId }) => eventId?.replace(/^s/, '').replace(/\d+$/, ''), options)

type Events = readonly BatchEvent<{ type: 'Paid'; version: number; eventId: string; payload: { id: string } }>[]

const idsOf = (events: readonly BatchEvent[]) => events.map(({ payload }) => (payload as { id: string }).id)

const idOf = (event: unknown) => (event as { payload: { id: string } }).payload.id

const aTurn = () => new Promise((resolve) => setImmediate(resolve))

/** A batch handler that notes its calls, and answers what a test says. */
function noting(answer: (events: Events) => unknown = () => undefined) {
  const calls: string[][] = []
  const counted = new Map<string, number>()
  const handle = async (events: Events) => {
    calls.push(idsOf(events))
    for (const { payload, deliveryCount } of events) counted.set(payload.id, deliveryCount)
    await aTurn()
    return answer(events)
  }
  return { calls, counted, handle: handle as unknown as BatchHandler<never> }
}

/** Names those of its events, as a handler answers. */
const naming =
  (isNamed: (id: string, deliveryCount: number) => boolean, error?: Error) =>
  (events: Events): unknown => ({
    batchItemFailures: events
      .filter(({ payload, deliveryCount }) => isNamed(payload.id, deliveryCount))
      .map(({ entryId }) => ({ itemIdentifier: entryId, error })),
  })

const batches = (handle: BatchHandler<never>, options: BatchOptions<never> = {}): Route =>
  onBatch(Paid, handle as never, options as never)

const inOrder = (routes: readonly Route[], options: Partial<ConsumerOptions> = {}) =>
  billing(() => {}, { routes, use: [order()], mode: 'once', ...options })

describeEverywhere('a batch route with orderedBy()', (start) => {
  it('is given the events of all keys in one call, each in its order', async () => {
    const world = await start()
    const { calls, handle } = noting()
    await world.publish('a1', 'b1', 'a2', 'b2', 'a3')

    const report = await world.poll(inOrder([batches(handle)]))

    expect(calls).toEqual([['a1', 'b1', 'a2', 'b2', 'a3']])
    expect(counts(report)).toEqual({ read: 5, acked: 5, invoked: 5 })
  })

  it('sets aside what follows by the key of today, where an older deployment made the lanes', async () => {
    const world = await start()
    const { calls, handle } = noting(
      naming((id, deliveryCount) => deliveryCount < 2 || (id === 'a1' && calls.length < 3)),
    )
    await world.publish('a1', 'b1')
    await world.poll(inOrder([batches(handle)]))

    const coarse = inOrder([batches(handle)], { use: [orderedBy(() => 'all')], maxDeliveries: 5 })
    for (let round = 0; round < 4; round++) await world.claim(coarse)

    expect(calls.slice(0, 2)).toEqual([
      ['a1', 'b1'],
      ['a1', 'b1'],
    ])
    expect(calls.slice(2).flat().toSorted()).toEqual(['a1', 'b1'])
    expect(await world.pending()).toEqual([])
  })

  it('has calls follow each other that share a key, and overlap where they share none', async () => {
    const world = await start()
    const open: string[] = []
    const calls: string[] = []
    let most = 0
    const handle = async (events: Events) => {
      const ids = idsOf(events)
      const keys = ids.map((id) => id[0] as string)
      expect(open.filter((key) => keys.includes(key))).toEqual([])
      open.push(...new Set(keys))
      most = Math.max(most, open.length)
      calls.push(ids.join(' '))
      for (let turn = 0; turn < 5; turn++) await aTurn()
      for (const key of new Set(keys)) open.splice(open.indexOf(key), 1)
    }
    await world.publish('a1', 'a2', 'a3', 'b1', 'a4', 'a5')

    await world.poll(inOrder([batches(handle as never, { maxEvents: 2 })], { concurrency: 4 }))

    expect(calls.filter((ids) => ids.includes('a'))).toHaveLength(3)
    expect(calls.join(' ').replaceAll(/b1 ?/g, '').trim()).toBe('a1 a2 a3 a4 a5')
    expect(most).toBe(2)
    expect(await world.pending()).toEqual([])
  })

  it('waits for an event of another route before one of its key', async () => {
    const world = await start()
    const calls: string[] = []
    let open = 0
    const handle = async (ids: string) => {
      calls.push(ids)
      expect(++open).toBe(1)
      for (let turn = 0; turn < 5; turn++) await aTurn()
      open--
    }
    const routes = [
      onBatch(Paid, (events) => handle(idsOf(events).join(' '))),
      on(Shipped, (event) => handle(idOf(event))),
    ]
    await world.publish('a1', 'a2', 'sa3', 'a4', 'a5', 'sa6')

    const report = await world.poll(inOrder(routes, { concurrency: 4 }))

    expect(calls).toEqual(['a1 a2', 'sa3', 'a4 a5', 'sa6'])
    expect(counts(report)).toEqual({ read: 6, acked: 6, invoked: 6 })
  })

  it('waits for a batch of another route before one of its key', async () => {
    const world = await start()
    const calls: string[] = []
    let open = 0
    const handle = async (events: readonly BatchEvent[]) => {
      calls.push(idsOf(events).join(' '))
      expect(++open).toBe(1)
      for (let turn = 0; turn < 5; turn++) await aTurn()
      open--
    }
    await world.publish('a1', 'sa2', 'sa3', 'a4')

    await world.poll(inOrder([onBatch(Paid, handle), onBatch(Shipped, handle)], { concurrency: 4 }))

    expect(calls).toEqual(['a1', 'sa2 sa3', 'a4'])
  })

  it('sets aside what follows a named failure of its key, and acknowledges the others', async () => {
    const world = await start()
    const { calls, counted, handle } = noting(naming((id, count) => id === 'a2' && count === 1))
    const consumer = inOrder([batches(handle)])
    await world.publish('a1', 'a2', 'b1', 'a3', 'b2', 'a4')

    const report = await world.poll(consumer)

    expect(counts(report)).toEqual({ read: 6, acked: 3, retried: 1, parked: 2, invoked: 6 })
    expect(await world.pending()).toEqual([
      ['a2', 'parked', 1],
      ['a3', 'parked', 0],
      ['a4', 'parked', 0],
    ])
    for (let round = 0; round < 4; round++) await world.claim(consumer)
    expect(calls.slice(1)).toEqual([['a2'], ['a3'], ['a4']])
    expect([counted.get('a2'), counted.get('a3')]).toEqual([2, 1])
    expect(await world.pending()).toEqual([])
  })

  it('takes those that are named behind another of their key for what follows it', async () => {
    const world = await start()
    const { handle } = noting(naming((id) => id !== 'a1'))
    await world.publish('a1', 'a2', 'a3', 'b1')

    const report = await world.poll(inOrder([batches(handle)]))

    expect(counts(report)).toEqual({ read: 4, acked: 1, retried: 2, parked: 1, invoked: 4 })
    expect(await world.pending()).toEqual([
      ['a2', 'parked', 1],
      ['a3', 'parked', 0],
      ['b1', 'parked', 1],
    ])
  })

  it('sets aside all of the call behind the first named failure, where that is its checkpoint', async () => {
    const world = await start()
    const { handle } = noting(naming((id) => id === 'b1' || id === 'c1'))
    const use = [order({ afterBatchItemFailure: 'checkpoint' })]
    await world.publish('a1', 'b1', 'a2', 'c1')

    const report = await world.poll(inOrder([batches(handle)], { use }))

    expect(counts(report)).toEqual({ read: 4, acked: 1, retried: 1, parked: 2, invoked: 4 })
    expect((await world.pending()).map(([id, , count]) => [id, count])).toEqual([
      ['b1', 1],
      ['a2', 0],
      ['c1', 0],
    ])
  })

  it('has the first of each key retried where a call throws, all else behind it', async () => {
    const world = await start()
    let isDown = true
    const { calls, handle } = noting(() => {
      if (isDown) throw new Error('down')
    })
    const consumer = inOrder([batches(handle)])
    await world.publish('a1', 'b1', 'a2', 'b2')

    const report = await world.poll(consumer)

    expect(counts(report)).toEqual({ read: 4, retried: 2, parked: 2, invoked: 4 })
    isDown = false
    for (let round = 0; round < 3; round++) await world.claim(consumer)
    expect(calls.slice(1).flat()).toEqual(['a1', 'b1', 'a2', 'b2'])
    expect(await world.pending()).toEqual([])
  })

  it('makes no dead letter of what follows events that never succeed', async () => {
    const world = await start()
    const { counted, handle } = noting((events) => {
      if (events.some(({ payload: { id } }) => id !== 'a4' && id !== 'b1')) throw new Error('poison')
    })
    const consumer = inOrder([batches(handle)], { maxDeliveries: 2, mode: 'drain' })
    await world.publish('a1', 'a2', 'a3', 'a4', 'b1')

    let letters = (await world.poll(consumer)).deadLettered
    for (let round = 0; round < 8; round++) letters += (await world.claim(consumer)).deadLettered

    expect([letters, counted.get('a4'), await world.pending()]).toEqual([3, 1, []])
  })

  it('calls again what followed a dead letter in its call', async () => {
    const world = await start()
    const never = naming((id) => id === 'a1', new NonRetryableError('never'))
    const { calls, handle } = noting(never)
    const consumer = inOrder([batches(handle)])
    await world.publish('a1', 'a2', 'a3', 'b1')

    const report = await world.poll(consumer)

    expect(counts(report)).toEqual({ read: 4, acked: 1, deadLettered: 1, parked: 2, invoked: 4 })
    for (let round = 0; round < 3; round++) await world.claim(consumer)
    expect(calls.slice(1)).toEqual([['a2'], ['a3']])
  })

  it('makes no dead letter of what stood behind the first in a last delivery that threw', async () => {
    const world = await start()
    const { calls, handle } = noting((events) => {
      if (events[0]?.payload.id === 'a1') throw new Error('down')
    })
    const consumer = inOrder([batches(handle)], { maxDeliveries: 1 })
    await world.publish('a1', 'a2')

    expect(counts(await world.poll(consumer))).toEqual({ read: 2, deadLettered: 1, parked: 1, invoked: 2 })
    await world.claim(consumer)
    expect(calls).toEqual([['a1', 'a2'], ['a2']])
    expect(await world.pending()).toEqual([])
  })

  it('has a key wait that its handler takes no work for', async () => {
    const world = await start()
    let isOut = true
    const { calls, handle } = noting(() => {
      if (isOut) throw new UnavailableError('out')
    })
    const consumer = inOrder([batches(handle)])
    await world.publish('a1', 'a2', 'b1')

    expect(counts(await world.poll(consumer))).toEqual({ read: 3, released: 3, invoked: 3 })
    isOut = false
    for (let round = 0; round < 4; round++) await world.claim(consumer)
    expect(
      calls
        .slice(1)
        .flat()
        .filter((id) => id.startsWith('a')),
    ).toEqual(['a1', 'a2'])
    expect(await world.pending()).toEqual([])
  })

  it('sets aside what follows an event for which alone its handler takes no work', async () => {
    const world = await start()
    const { handle } = noting(naming((id) => id === 'a2', new UnavailableError('out')))
    await world.publish('a1', 'a2', 'b1', 'a3')

    const report = await world.poll(inOrder([batches(handle)]))

    expect(counts(report)).toEqual({ read: 4, acked: 2, released: 1, parked: 1, invoked: 4 })
    expect((await world.pending()).map(([id, , count]) => [id, count])).toEqual([
      ['a2', 0],
      ['a3', 0],
    ])
  })

  it('gathers the events of several reads, in their order', async () => {
    const world = await start()
    const { calls, handle } = noting()
    const window = batches(handle, { maxBatchingWindowMs: 60_000, maxEvents: 4 })
    await world.publish('a1', 'a2', 'a3', 'a4', 'a5')

    const report = await world.poll(inOrder([window], { batchSize: 2, mode: 'drain' }), { remainingMs: 13_000 })

    expect(calls).toEqual([['a1', 'a2', 'a3', 'a4'], ['a5']])
    expect(counts(report)).toEqual({ read: 5, acked: 5, invoked: 5 })
  })

  it('keeps its order where batches are bisected', async () => {
    const world = await start()
    const { calls, handle } = noting((events) => {
      if (events.some(({ payload: { id } }) => id === 'a2')) throw new Error('poison')
    })
    const consumer = inOrder([batches(handle, { bisectOnError: true })], { maxDeliveries: 3 })
    await world.publish('a1', 'a2', 'a3', 'b1', 'b2')

    let letters = (await world.poll(consumer)).deadLettered
    for (let round = 0; round < 8; round++) letters += (await world.claim(consumer)).deadLettered

    const last = calls.flat().filter((id, n, all) => all.lastIndexOf(id) === n)
    expect(last.filter((id) => id.startsWith('a'))).toEqual(['a1', 'a2', 'a3'])
    expect([letters, await world.pending()]).toEqual([1, []])
  })

  it.each([
    ['a concurrency limit', concurrencyLimit({ max: 1 })],
    ['a circuit breaker', circuitBreaker({ failures: 100, perMs: 1_000, probeAfterMs: 1_000 })],
  ])('keeps its order under %s', async (_name, policy) => {
    const world = await start()
    const { calls, handle } = noting(naming((id, count) => id === 'a2' && count === 1))
    const consumer = inOrder([batches(handle, { maxEvents: 3 })], { use: [order(), policy], concurrency: 4 })
    await world.publish('a1', 'a2', 'a3', 'a4')

    await world.poll(consumer)
    for (let round = 0; round < 6; round++) {
      await world.pass(2_000)
      await world.claim(consumer)
    }

    const last = calls.flat().filter((id, n, all) => all.lastIndexOf(id) === n)
    expect(last).toEqual(['a1', 'a2', 'a3', 'a4'])
    expect(await world.pending()).toEqual([])
  })

  it('releases a batch that there is no time for, and calls nothing of its keys', async () => {
    const world = await start()
    const { calls, handle } = noting()
    const late = batches(handle, { handlerTimeoutMs: 10_000 })
    const slow = on(Shipped, () => new Promise<void>((resolve) => setTimeout(resolve, 1_200)), {
      handlerTimeoutMs: 5_000,
    })
    await world.publish('sa1', 'a2', 'a3', 'b1')
    const consumer = inOrder([late, slow], { concurrency: 1 })

    const report = await world.poll(consumer, { remainingMs: 12_000 })

    expect(calls.flat().filter((id) => id.startsWith('a'))).toEqual([])
    expect(counts(report)).toMatchObject({ read: 4, acked: 1 + calls.length })
    for (let round = 0; round < 4; round++) await world.claim(consumer)
    expect(calls.flat().filter((id) => id.startsWith('a'))).toEqual(['a2', 'a3'])
    expect(await world.pending()).toEqual([])
  })

  it('refuses effects: what is refused of one event would come after those behind it', async () => {
    const world = await start()
    const handle = (events: Events, context: object) => {
      for (const event of events) effects(context as never, event as never).set('{orders}:done', event.payload.id)
    }
    await world.publish('a1', 'a2')

    const report = await world.poll(inOrder([batches(handle as never)]))

    expect(counts(report)).toEqual({ read: 2, retried: 1, parked: 1, invoked: 2 })
    expect(await world.command('GET', '{orders}:done')).toBeNull()
  })
})
