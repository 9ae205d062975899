import { setTimeout as delay } from 'node:timers/promises'
import type { BatchContext, BatchEvent, BatchHandler, BatchOptions, Connection, ConsumerOptions, Route } from 'millrace'
import {
  createPublisher,
  defineConsumer,
  defineEvent,
  InvocationFailedError,
  NonRetryableError,
  on,
  onBatch,
  poll,
  RetryAfterError,
  UnavailableError,
} from 'millrace'
import { createVirtualClock } from 'millrace/testing'
import { describe, expect, it } from 'vitest'
import * as z from 'zod/mini'
import type { BothSides } from '../support/both-sides.ts'
import { bothSides } from '../support/both-sides.ts'
import { claimOnce } from '../support/claim-once.ts'
import { counts, names, OrderPaid, startScenario } from '../support/scenario.ts'

const PageViewed = defineEvent('PageViewed', { payload: z.object({ orderId: z.string() }) })

type Handler = BatchHandler<{ type: 'PageViewed'; version: number; eventId: string; payload: { orderId: string } }>

const idsOf = (events: readonly BatchEvent[]) => events.map(({ payload }) => (payload as { orderId: string }).orderId)

/** A consumer of PageViewed in batches. */
function viewing(handler: Handler, batch: BatchOptions = {}, options: Partial<ConsumerOptions> = {}) {
  const routes = [onBatch(PageViewed, handler, batch)]
  return defineConsumer({ stream: 'orders', group: 'billing', routes, backoff: { firstMs: 0 }, ...options })
}

/** A consumer of several routes, each failure retried at once. */
function having(routes: readonly Route[], options: Partial<ConsumerOptions> = {}) {
  return defineConsumer({ stream: 'orders', group: 'billing', routes, backoff: { firstMs: 0 }, ...options })
}

/** PageViewed with a schema that takes its time, and refuses order `wrong`. */
function slowlyViewed(ms: number) {
  const slow = z.object({ orderId: z.string().check(z.refine((id) => delay(ms, id !== 'wrong'))) })
  return defineEvent('PageViewed', { payload: slow })
}

function withGroup(redis: Connection, change: (group: BothSides) => Partial<BothSides>): Connection {
  return { ...redis, group: (...address) => bothSides(redis.group(...address), change) }
}

async function startViews() {
  const scenario = await startScenario()
  const publisher = createPublisher({ stream: 'orders', redis: scenario.redis })
  return {
    ...scenario,
    async view(...orderIds: string[]) {
      const published = await publisher.publishMany(orderIds.map((orderId) => [PageViewed, { orderId }] as const))
      return published.map(({ entryId }) => entryId)
    },
  }
}

describe('a batch handler', () => {
  it('gets the events of a read in one call, and answers nothing if all succeeded', async () => {
    const { redis, view, pending } = await startViews()
    const ids = await view('a', 'b', 'c')
    const calls: (readonly BatchEvent[])[] = []
    let context: BatchContext | undefined

    const report = await poll(
      viewing((events, given) => {
        calls.push(events)
        context = given
      }),
      { redis, context: { functionName: 'poller' } },
    )

    expect(calls.map(idsOf)).toEqual([['a', 'b', 'c']])
    expect(calls[0]?.[0]).toMatchObject({
      type: 'PageViewed',
      payload: { orderId: 'a' },
      entryId: ids[0],
      deliveryCount: 1,
      idempotencyKey: `billing:${calls[0]?.[0]?.eventId}`,
    })
    expect(calls[0]?.[0]?.fields.map(String)).toContain('eventType,PageViewed')
    expect(context).toMatchObject({ functionName: 'poller', stream: 'orders', group: 'billing', maxDeliveries: 5 })
    expect(context?.getRemainingTimeInMillis()).toBeGreaterThan(9_000)
    expect(report).toMatchObject({ read: 3, acked: 3, invoked: 3, failed: 0 })
    expect(await pending()).toEqual([])
  })

  it('has those retried that it names in batchItemFailures, the others acknowledged', async () => {
    const { redis, view, pending } = await startViews()
    const [, b] = await view('a', 'b', 'c')

    const report = await poll(
      viewing(() => ({ batchItemFailures: [{ itemIdentifier: b as string }] })),
      { redis },
    )

    expect(report).toMatchObject({ acked: 2, retried: 1, invoked: 3, failed: 1 })
    expect(await pending()).toEqual([['b', 'parked', 1]])
  })

  it.each([
    ['an array', () => []],
    ['a wrong key', () => ({ batchItemFailure: [] })],
    ['an id that is not in the batch', () => ({ batchItemFailures: [{ itemIdentifier: '1-1' }] })],
    ['an empty id', () => ({ batchItemFailures: [{ itemIdentifier: '' }] })],
    ['an id that is null', () => ({ batchItemFailures: [{ itemIdentifier: null }] })],
    ['no list', () => ({ batchItemFailures: 'b' })],
    ['an error', () => new Error('down')],
    ['a map', () => new Map()],
    ['a text', () => 'done'],
    ['a number', () => 0],
    ['a rejection', () => Promise.reject(new Error('down'))],
  ])('that answers %s has failed for all', async (_answer, answer) => {
    const { redis, view, pending } = await startViews()
    await view('a', 'b')

    const report = await poll(viewing(answer as never), { redis })

    expect(report).toMatchObject({ acked: 0, retried: 2, failed: 2 })
    expect(await pending()).toHaveLength(2)
  })

  it.each([
    ['null', () => null],
    ['an empty object', () => ({})],
    ['an empty list', () => ({ batchItemFailures: [] })],
    ['a list that is null', () => ({ batchItemFailures: null })],
  ])('that answers %s has succeeded', async (_answer, answer) => {
    const { redis, view } = await startViews()
    await view('a', 'b')

    expect(await poll(viewing(answer), { redis })).toMatchObject({ acked: 2, failed: 0 })
  })

  it('steers each event by its error, and all by what it throws', async () => {
    const { redis, view, pending, deadLetters, raw } = await startViews()
    const [a, b] = await view('a', 'b', 'c')
    const steering = viewing(() => ({
      batchItemFailures: [
        { itemIdentifier: a as string, error: new NonRetryableError('no such page') },
        { itemIdentifier: b as string, error: new RetryAfterError(3_600_000) },
      ],
    }))

    expect(counts(await poll(steering, { redis }))).toMatchObject({ acked: 1, retried: 1, deadLettered: 1 })
    expect((await deadLetters()).map(({ head }) => [head.originalId, head.reason, head.errorMessage])).toEqual([
      [a, 'non-retryable', 'no such page'],
    ])
    expect(await pending()).toEqual([['b', 'parked', 1]])
    expect(await raw.zrange('{orders}:billing:due', '0', '-1')).toEqual([b])

    await view('d', 'e')
    const throwing = viewing(() => {
      throw new NonRetryableError('not at all')
    })
    expect(await poll(throwing, { redis })).toMatchObject({ deadLettered: 2 })
  })

  it('gets no more than maxEvents and maxBytes at once, a larger event alone', async () => {
    const { redis, view } = await startViews()
    const large = 'x'.repeat(400)
    await view('a', 'b', 'c', 'd', 'e')
    const sizes: number[][] = []
    const noting =
      (n: number): Handler =>
      (events) => {
        sizes[n] = [...(sizes[n] ?? []), events.length]
      }

    await poll(viewing(noting(0), { maxEvents: 2 }), { redis })
    await view('a', 'b', large, 'd')
    await poll(viewing(noting(1), { maxBytes: 300 }), { redis })

    expect(sizes).toEqual([
      [2, 2, 1],
      [2, 1, 1],
    ])
  })

  it('runs at most concurrency calls side by side', async () => {
    const { redis, view } = await startViews()
    await view('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h')
    let running = 0
    let most = 0
    const slow: Handler = async () => {
      most = Math.max(most, ++running)
      await new Promise((resolve) => setImmediate(resolve))
      running--
    }

    const report = await poll(viewing(slow, { maxEvents: 1 }, { concurrency: 3 }), { redis })

    expect([most, report.acked]).toEqual([3, 8])
  })

  it('past handlerTimeoutMs has failed for all, and its signal is aborted', async () => {
    const { redis, view } = await startViews()
    await view('a', 'b')
    const clock = createVirtualClock()
    let reason: unknown
    const stuck = viewing((_events, { signal }) => {
      signal.addEventListener('abort', () => {
        reason = signal.reason
      })
      return new Promise<void>(() => {})
    })

    const polling = poll(stuck, { redis, clock, remainingMs: 30_000 })
    const report = await advanceUntil(clock, polling)

    expect(report).toMatchObject({ retried: 2, failed: 2, overran: 2 })
    expect(reason).toMatchObject({ code: 'ERR_HANDLER_TIMEOUT' })
  })

  it('never sees what its schema refuses, also where the schema is asynchronous', async () => {
    const { redis, view, deadLetters } = await startViews()
    await view('a', 'bad', 'c')
    const picky = defineEvent('PageViewed', {
      payload: z.object({ orderId: z.string().check(z.refine(async (text) => text !== 'bad')) }),
    })
    const calls: string[][] = []
    const routes = [onBatch(picky, (events) => void calls.push(idsOf(events)))]

    const report = await poll(defineConsumer({ stream: 'orders', group: 'billing', routes }), { redis })

    expect(calls).toEqual([['a', 'c']])
    expect(report).toMatchObject({ acked: 2, deadLettered: 1, invoked: 2 })
    expect((await deadLetters())[0]?.head.reason).toBe('invalid')
  })

  it('waits for no handler of another route, also where that one has an asynchronous schema', async () => {
    const { redis, view } = await startViews()
    const SlowlyPaid = defineEvent('OrderPaid', {
      payload: z.object({ orderId: z.string().check(z.refine(() => delay(20, true))) }),
    })
    const ends: string[] = []
    const paid = () => delay(500).then(() => void ends.push('paid'))
    const routes = [on(SlowlyPaid, paid), onBatch(PageViewed, (events) => void ends.push(...idsOf(events)))]
    await view('v')
    await createPublisher({ stream: 'orders', redis }).publish(SlowlyPaid, { orderId: 'p' })

    await poll(having(routes), { redis })

    expect(ends).toEqual(['v', 'paid'])
  })

  it('holds up no claim whose connection is lost while an asynchronous schema checks an event', async () => {
    const { redis, view, publish, age } = await startViews()
    await view('fast', 'wrong')
    await publish('p1', 'p2')
    const failing = () => Promise.reject(new Error('down'))
    await poll(having([on(OrderPaid, failing), onBatch(PageViewed, failing)]), { redis })
    await age(60_000)
    let starts = 0
    const cut = withGroup(redis, (group) => ({
      settleAndTake: (...args) => (++starts === 2 ? Promise.reject(new Error('cut')) : group.settleAndTake(...args)),
    }))
    const viewed: string[][] = []
    const routes = [on(OrderPaid, () => {}), onBatch(slowlyViewed(200), (events) => void viewed.push(idsOf(events)))]

    const claiming = claimOnce(having(routes, { concurrency: 3 }), { redis: cut })

    await expect(claiming).rejects.toThrow('cut')
    expect(viewed).toEqual([['fast']])
  })

  it('fails at every delivery: maxDeliveries calls, then one dead letter an event', async () => {
    const { redis, view, deadLetters, pending } = await startViews()
    await view('a', 'b', 'c')
    const counted: number[][] = []
    const failing = viewing(
      (events) => {
        counted.push(events.map(({ deliveryCount }) => deliveryCount))
        throw new Error('down')
      },
      {},
      { maxDeliveries: 3, concurrency: 2 },
    )

    await poll(failing, { redis })
    for (let lap = 0; lap < 3; lap++) await claimOnce(failing, { redis })

    expect(counted.flat().toSorted((one, other) => one - other)).toEqual([1, 1, 1, 2, 2, 2, 3, 3, 3])
    expect((await deadLetters()).map(({ head }) => head.reason)).toEqual(Array(3).fill('max-deliveries'))
    expect(await pending()).toEqual([])
  })

  it('gets at most concurrency events of a claimer at once, and suspects one by one', async () => {
    const { redis, view, raw, age } = await startViews()
    await view('a', 'b', 'c', 'd', 'e')
    const calls: string[][] = []
    const consumer = viewing((events) => void calls.push(idsOf(events)), {}, { concurrency: 2 })
    // two that a dead process left at their third delivery, three that failed once
    await poll(
      viewing(() => Promise.reject(new Error('down'))),
      { redis },
    )
    const ids = ((await raw.xpending('orders', 'billing', '-', '+', 10)) as [string][]).map(([id]) => id)
    for (const id of ids.slice(0, 2))
      await raw.xclaim('orders', 'billing', 'poller-3', 0, id, 'RETRYCOUNT', '2', 'JUSTID')
    await age(60_000)

    const report = await claimOnce(consumer, { redis })

    expect(report).toMatchObject({ claimed: 5, acked: 5 })
    expect(calls.slice(0, -2).flat().toSorted()).toEqual(['c', 'd', 'e'])
    expect(Math.max(...calls.map((call) => call.length))).toBe(2)
    expect(calls.slice(-2).toSorted((one, other) => String(one).localeCompare(String(other)))).toEqual([['a'], ['b']])
  })
})

describe('maxBatchingWindowMs', () => {
  it('has a batch wait for events that are published meanwhile', async () => {
    const { redis, view } = await startViews()
    const clock = createVirtualClock()
    await view('a')
    const calls: string[][] = []
    const consumer = viewing((events) => void calls.push(idsOf(events)), { maxBatchingWindowMs: 5_000 })

    const polling = poll(consumer, { redis, clock, remainingMs: 60_000 })
    await advanceUntilRead(clock, polling)
    expect(calls).toEqual([])
    await view('b', 'c')
    const report = await advanceUntil(clock, polling)

    expect(calls).toEqual([['a', 'b', 'c']])
    expect(report).toMatchObject({ read: 3, acked: 3, drained: true })
  })

  it('is over as soon as the batch is full', async () => {
    const { redis, view } = await startViews()
    await view('a', 'b', 'c')
    const calls: string[][] = []
    const consumer = viewing((events) => void calls.push(idsOf(events)), {
      maxEvents: 3,
      maxBatchingWindowMs: 300_000,
    })

    // with the system's clock: this would take five minutes
    expect(await poll(consumer, { redis })).toMatchObject({ acked: 3 })
    expect(calls).toEqual([['a', 'b', 'c']])
  })

  it('ends with the time that the handler needs', async () => {
    const { redis, view } = await startViews()
    const clock = createVirtualClock()
    await view('a')
    const calls: string[][] = []
    const consumer = viewing((events) => void calls.push(idsOf(events)), { maxBatchingWindowMs: 300_000 })

    const report = await advanceUntil(clock, poll(consumer, { redis, clock, remainingMs: 20_000 }))

    expect(calls).toEqual([['a']])
    expect(report).toMatchObject({ acked: 1, released: 0 })
  })

  it('keeps no event of another route waiting, and settles what is done meanwhile', async () => {
    const { redis, view, publish, pending } = await startViews()
    const clock = createVirtualClock()
    const calls: string[][] = []
    const routes = [
      on(OrderPaid, (event) => void calls.push([event.payload.orderId])),
      onBatch(PageViewed, (events) => void calls.push(idsOf(events)), { maxBatchingWindowMs: 5_000 }),
    ]
    const consumer = defineConsumer({ stream: 'orders', group: 'billing', routes })
    await view('a')
    await publish('paid')

    const polling = poll(consumer, { redis, clock, remainingMs: 60_000 })
    while ((await pending().catch(() => [])).length !== 1) await clock.advance(50)
    expect(calls).toEqual([['paid']])
    expect(await pending()).toEqual([['a', 'poller-0', 1]])
    const report = await advanceUntil(clock, polling)

    expect(calls).toEqual([['paid'], ['a']])
    expect(report.acked).toBe(2)
  })

  it('keeps nobody waiting who comes after slow handlers', async () => {
    const { redis, view, publish } = await startViews()
    const calls: string[] = []
    const routes = [
      on(OrderPaid, (event) => delay(20).then(() => void calls.push(event.payload.orderId))),
      onBatch(PageViewed, (events) => void calls.push(idsOf(events).join('+')), { maxBatchingWindowMs: 1_500 }),
    ]
    await view('v')
    await publish(...names('o', 10))

    const polling = poll(having(routes, { concurrency: 3 }), { redis })
    await delay(300)
    await publish('late')
    await view('w')
    await polling

    expect(calls.slice(10)).toEqual(['late', 'v+w'])
  })

  it('gathers what an asynchronous schema checks', async () => {
    const { redis, view } = await startViews()
    await view('a')
    const calls: string[][] = []
    const gather = onBatch(slowlyViewed(20), (events) => void calls.push(idsOf(events)), { maxBatchingWindowMs: 1_000 })

    const polling = poll(having([gather]), { redis })
    await delay(300)
    await view('b')
    await polling

    expect(calls).toEqual([['a', 'b']])
  })

  it('slows nothing down: a full read is followed by the next', async () => {
    const { redis, view, publish } = await startViews()
    await view('v')
    await publish(...names('o', 500))
    const calls: string[] = []
    const routes = [
      on(OrderPaid, (event) => void calls.push(event.payload.orderId)),
      onBatch(PageViewed, (events) => void calls.push(...idsOf(events)), { maxBatchingWindowMs: 2_000 }),
    ]

    // fifty reads, with a pause of 50 ms between each and the next, take longer than the window
    const report = await poll(having(routes, { batchSize: 10 }), { redis })

    expect([report.acked, calls.at(-1)]).toEqual([501, 'v'])
  })

  it('that ends during a read has what that brought run as well', async () => {
    const { redis, view, publish } = await startViews()
    await view('v')
    let reads = 0
    const slow = withGroup(redis, (group) => ({
      async settleAndRead(...args) {
        if (++reads === 2) await publish('x')
        const read = await group.settleAndRead(...args)
        if (reads === 2) await delay(300)
        return read
      },
    }))
    const routes = [on(OrderPaid, () => {}), onBatch(PageViewed, () => {}, { maxBatchingWindowMs: 150 })]

    expect(await poll(having(routes), { redis: slow })).toMatchObject({ read: 2, acked: 2, released: 0 })
  })

  it('reads nothing while more than maxParked entries are set aside, however often it looks', async () => {
    const { redis, view, publish } = await startViews()
    await view('v')
    await publish(...names('o', 9))
    const routes = [
      on(OrderPaid, () => {
        throw new Error('down')
      }),
      onBatch(PageViewed, () => {}, { maxBatchingWindowMs: 1_000 }),
    ]
    const options = { batchSize: 10, maxParked: 15, backoff: { firstMs: 60_000 } }

    const polling = poll(having(routes, options), { redis })
    await delay(20)
    await publish(...names('more', 90))

    expect(await polling).toMatchObject({ read: 20, parkedLimitReached: true })
  })

  it('may be longer than minIdleMs: what waits is renewed', async () => {
    const { redis, view } = await startViews()
    await view('v')
    const options = { handlerTimeoutMs: 200, minIdleMs: 300, allowLongHandlers: true, reserveMs: 100 }
    const consumer = viewing(() => {}, { maxBatchingWindowMs: 1_500 }, options)

    const polling = poll(consumer, { redis })
    await delay(1_000)

    expect(await claimOnce(consumer, { redis })).toMatchObject({ claimed: 0 })
    expect(await polling).toMatchObject({ acked: 1, ackMissed: 0 })
  })

  it('lets go of what waits when the run is asked to stop', async () => {
    const { redis, view, pending } = await startViews()
    const clock = createVirtualClock()
    const stop = new AbortController()
    await view('a')
    const consumer = viewing(() => {}, { maxBatchingWindowMs: 300_000 })

    const polling = poll(consumer, { redis, clock, remainingMs: 600_000, signal: stop.signal })
    await advanceUntilRead(clock, polling)
    stop.abort()
    const report = await advanceUntil(clock, polling)

    expect(report).toMatchObject({ read: 1, released: 1, invoked: 0 })
    expect(await pending()).toEqual([['a', 'parked', 0]])
  })

  it('survives a connection that is cut while events wait', async () => {
    const { redis, view, server, pending } = await startViews()
    const clock = createVirtualClock()
    await view('a')
    const calls: string[][] = []
    const consumer = viewing((events) => void calls.push(idsOf(events)), { maxBatchingWindowMs: 300_000 })

    const polling = poll(consumer, { redis, clock, remainingMs: 600_000 }).catch((error: Error) => error)
    await advanceUntilRead(clock, polling)
    server.kill('SIGSTOP')
    const ended = await advanceUntil(clock, polling, 1).finally(() => server.kill('SIGCONT'))

    expect(ended).toBeInstanceOf(InvocationFailedError)
    const { report } = ended as InvocationFailedError
    expect(report.read).toBe(report.released + report.unsettled)
    expect(calls).toEqual([])
    expect(await pending()).toHaveLength(1)
  })
})

describe('UnavailableError', () => {
  it('hands entries back without costing a delivery, and the poller reads no further', async () => {
    const { redis, view, pending } = await startViews()
    await view('a', 'b', 'c', 'd', 'e')
    let calls = 0
    const throttled = viewing(
      () => {
        calls++
        throw new UnavailableError('throttled')
      },
      {},
      { batchSize: 2 },
    )

    const report = await poll(throttled, { redis })

    expect(report).toMatchObject({ read: 2, released: 2, throttled: 2, failed: 0, retried: 0, drained: false })
    expect(calls).toBe(1)
    expect(await pending()).toEqual([
      ['a', 'parked', 0],
      ['b', 'parked', 0],
    ])
    const calm = await claimOnce(
      viewing(() => {}),
      { redis },
    )
    expect(calm).toMatchObject({ claimed: 2, acked: 2 })
  })

  it('calls no batch of that route that has been gathered before', async () => {
    const { redis, view, pending } = await startViews()
    await view('a', 'b', 'c')
    let calls = 0
    const throttle = () => {
      calls++
      throw new UnavailableError('throttled')
    }

    const report = await poll(viewing(throttle, { maxEvents: 1 }, { concurrency: 1 }), { redis })

    expect(report).toMatchObject({ read: 3, released: 3, throttled: 3, invoked: 1 })
    expect(calls).toBe(1)
    expect(await pending()).toEqual(['a', 'b', 'c'].map((id) => [id, 'parked', 0]))
  })

  it('has nothing more read while events of another route wait, which are handed over', async () => {
    const { redis, view, publish } = await startViews()
    await view('v')
    await publish('a')
    const throttle = () => Promise.reject(new UnavailableError('throttled'))
    const calls: string[][] = []
    const gather = onBatch(PageViewed, (events) => void calls.push(idsOf(events)), { maxBatchingWindowMs: 300_000 })

    // with the system's clock: the window would take five minutes
    const report = await poll(having([on(OrderPaid, throttle), gather]), { redis })

    expect(report).toMatchObject({ read: 2, acked: 1, released: 1, throttled: 1, drained: false })
    expect(calls).toEqual([['v']])
  })

  it('thrown in a claim stops that route for the run, and no other route', async () => {
    const { redis, view, publish, age, pending } = await startViews()
    await view('a', 'b', 'c')
    await publish('paid')
    const failing = () => Promise.reject(new Error('down'))
    const both = (views: Handler, paid: () => unknown) =>
      defineConsumer({
        stream: 'orders',
        group: 'billing',
        concurrency: 1,
        routes: [onBatch(PageViewed, views), on(OrderPaid, paid)],
      })
    await poll(both(failing, failing), { redis })
    await age(60_000)
    let calls = 0

    const report = await claimOnce(
      both(
        () => {
          calls++
          throw new UnavailableError('throttled')
        },
        () => {},
      ),
      { redis },
    )

    expect(calls).toBe(1)
    expect(report.acked).toBe(1)
    expect(report.released).toBe(report.throttled)
    expect(await pending()).toEqual(['a', 'b', 'c'].map((id) => [id, 'parked', 1]))
  })

  it("thrown after the handler's time is over is a failure, and not counted as throttled", async () => {
    const { redis, view, publish, pending } = await startViews()
    await view('a')
    await publish('paid')
    const clock = createVirtualClock()
    const sulking = async (_what: unknown, { signal }: { signal: AbortSignal }) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      throw new UnavailableError('throttled')
    }
    const routes = [onBatch(PageViewed, sulking), on(OrderPaid, sulking)]
    const consumer = defineConsumer({ stream: 'orders', group: 'billing', routes })

    const report = await advanceUntil(clock, poll(consumer, { redis, clock, remainingMs: 30_000 }))

    expect(report).toMatchObject({ read: 2, retried: 2, failed: 2, throttled: 0, released: 0 })
    expect((await pending()).map(([, ...rest]) => rest)).toEqual([
      ['parked', 1],
      ['parked', 1],
    ])
  })

  it('that is lasting fails the invocation, once all is settled', async () => {
    const { redis, view, pending } = await startViews()
    await view('a')
    const denied = viewing(() => {
      throw new UnavailableError('no permission to invoke', { isLasting: true })
    })

    const error = await poll(denied, { redis }).catch((failure: unknown) => failure)

    expect(error).toMatchObject({
      code: 'ERR_INVOCATION_FAILED',
      failures: [{ error: { message: 'no permission to invoke' } }],
      report: { released: 1, throttled: 1 },
    })
    expect(await pending()).toEqual([['a', 'parked', 0]])
  })
})

/** Moves the clock on until a run is over; real time passes for the server's answers. */
async function advanceUntil<T>(
  clock: ReturnType<typeof createVirtualClock>,
  running: Promise<T>,
  stepMs = 100,
): Promise<T> {
  let isOver = false
  const over = running.finally(() => {
    isOver = true
  })
  over.catch(() => {})
  while (!isOver) {
    await clock.advance(stepMs)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  return over
}

/** Lets a run get as far as its first empty read. */
async function advanceUntilRead(
  clock: ReturnType<typeof createVirtualClock>,
  running: Promise<unknown>,
): Promise<void> {
  let isOver = false
  void running.then(
    () => (isOver = true),
    () => (isOver = true),
  )
  for (let step = 0; step < 20 && !isOver; step++) {
    await clock.advance(10)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
