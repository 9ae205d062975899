import type { Consumer } from 'millrace'
import {
  circuitBreaker,
  concurrencyLimit,
  defineConsumer,
  idempotent,
  NonRetryableError,
  on,
  onBatch,
  rateLimit,
} from 'millrace'
import { expect, it } from 'vitest'
import type { World } from './world.ts'
import { billing, counts, describeEverywhere, Paid, Shipped } from './world.ts'

const sleep = (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms))
const opening = { failures: 2, perMs: 60_000, probeAfterMs: 200 }

/** Claims until nothing is pending, or so many times. */
async function claimAll(world: World, consumer: Consumer, rounds = 8): Promise<void> {
  for (let round = 0; round < rounds && (await world.pending()).length > 0; round++) {
    await world.pass(2_000)
    await sleep(20)
    await world.claim(consumer)
  }
}

describeEverywhere('circuitBreaker()', (start) => {
  it('costs no entry its last delivery, however long the outage is', async () => {
    const world = await start()
    let isOut = true
    const consumer = billing(
      () => {
        if (isOut) throw new Error('out')
      },
      { use: [circuitBreaker(opening)], maxDeliveries: 2, concurrency: 2 },
    )
    await world.publish('p1', 'p2', 'p3', 'p4')

    const reports = [await world.poll(consumer)]
    for (let round = 0; round < 5; round++) {
      await world.pass(1_000)
      await sleep(220)
      reports.push(await world.claim(consumer))
    }
    const spent = (await world.pending()).reduce((sum, [, , count]) => sum + count, 0)
    isOut = false
    await sleep(220)
    await claimAll(world, consumer)

    expect(reports.reduce((sum, report) => sum + report.deadLettered, 0)).toBe(0)
    expect(reports.reduce((sum, report) => sum + report.invoked, 0)).toBeGreaterThan(4)
    // the failure that opens it costs nothing either
    expect(spent).toBeLessThanOrEqual(opening.failures - 1)
    expect(await world.pending()).toEqual([])
  })

  it('counts what `when` says, and no NonRetryableError where nobody says', async () => {
    const world = await start()
    const never = { use: [circuitBreaker({ ...opening, when: () => false })], maxDeliveries: 1 }
    const fails = (error: Error) => () => {
      throw error
    }
    await world.publish('p1', 'p2', 'p3', 's1', 's2', 's3')

    const report = await world.poll(billing(fails(new Error('no')), never))
    await world.publish('p4', 'p5', 'p6')
    const hopeless = await world.poll(billing(fails(new NonRetryableError('no')), { use: [circuitBreaker(opening)] }))

    expect(counts(report)).toEqual({ read: 6, deadLettered: 6, invoked: 6 })
    expect(counts(hopeless)).toEqual({ read: 3, deadLettered: 3, invoked: 3 })
  })

  it('counts a failed call of a batch once', async () => {
    const world = await start()
    const consumer = defineConsumer({
      stream: 'orders',
      group: 'billing',
      routes: [
        onBatch(Paid, () => {
          throw new Error('out')
        }),
      ],
      use: [circuitBreaker(opening)],
      backoff: { firstMs: 60_000, factor: 1, maxMs: 60_000 },
    })
    await world.publish('p1', 'p2', 'p3')
    const first = await world.poll(consumer)
    await world.publish('p4', 'p5')
    const second = await world.poll(consumer)

    expect(counts(first)).toEqual({ read: 3, retried: 3, invoked: 3 })
    expect(counts(second)).toEqual({ read: 2, parked: 2, invoked: 2 })
  })

  it('is gone with its definition, and what waited comes back', async () => {
    const world = await start()
    const calls: string[] = []
    const fails = () => {
      throw new Error('out')
    }
    await world.publish('p1', 'p2', 'p3')
    await world.poll(billing(fails, { use: [circuitBreaker(opening)], concurrency: 1 }))

    await world.pass(1_000)
    await world.claim(billing(({ payload }) => calls.push(payload.id)))

    expect(calls.toSorted()).toEqual(['p1', 'p2', 'p3'])
    expect(await world.pending()).toEqual([])
  })

  it('is gone for a type that has none any more, though another type keeps its own', async () => {
    const world = await start()
    const calls: string[] = []
    const handled = ({ payload }: { readonly payload: { readonly id: string } }) => void calls.push(payload.id)
    const fails = () => {
      throw new Error('out')
    }
    const use = { use: [circuitBreaker(opening)] }
    await world.publish('p1', 'p2', 'p3')
    const before = billing(fails, { routes: [on(Paid, fails, use), on(Shipped, handled, use)], concurrency: 1 })
    await world.poll(before)

    await world.pass(1_000)
    await world.claim(billing(handled, { routes: [on(Paid, handled), on(Shipped, handled, use)] }))

    expect(calls.toSorted()).toEqual(['p1', 'p2', 'p3'])
    expect(await world.pending()).toEqual([])
  })

  it('hears of a probe by listening pollers, and of its success', async () => {
    const world = await start()
    let isOut = true
    const calls: string[] = []
    const consumer = billing(
      ({ payload }) => {
        if (isOut) throw new Error('out')
        calls.push(payload.id)
      },
      { use: [circuitBreaker(opening)], mode: 'listen', concurrency: 2, handlerTimeoutMs: 500, reserveMs: 200 },
    )
    await world.publish('p1', 'p2', 'p3', 'p4')
    const listening = world.poll(consumer, { remainingMs: 6_000 })
    await sleep(1_200)
    isOut = false

    const report = await listening

    expect(calls.toSorted()).toEqual(['p1', 'p2', 'p3', 'p4'])
    expect(report.deadLettered).toBe(0)
  })
})

describeEverywhere('rateLimit()', (start) => {
  it('holds over several pollers, one that listens among them, and a claimer', async () => {
    const world = await start()
    const at: number[] = []
    const limits = { use: [rateLimit({ max: 10, perMs: 500 })], batchSize: 7 }
    const handle = () => void at.push(performance.now())
    const consumer = billing(handle, limits)
    const listener = billing(handle, { ...limits, mode: 'listen', handlerTimeoutMs: 500, reserveMs: 200 })
    await world.publish(...Array.from({ length: 40 }, (_, n) => `p${n}`))

    await Promise.all([
      world.poll(consumer),
      world.poll(consumer),
      world.poll(listener, { remainingMs: 6_000 }),
      world.claim(consumer),
    ])
    await claimAll(world, consumer)

    expect(at).toHaveLength(40)
    const peak = Math.max(...at.map((from) => at.filter((time) => time >= from && time < from + 500).length))
    expect(peak).toBeLessThanOrEqual(10)
    expect(await world.pending()).toEqual([])
  })

  it('lets an entry start once all of several limits do', async () => {
    const world = await start()
    const calls: string[] = []
    const byKey = rateLimit({ max: 1, perMs: 60_000, by: ({ payload }) => (payload as { key?: string }).key })
    const consumer = billing(({ payload }) => calls.push(payload.id), {
      use: [byKey, rateLimit({ max: 3, perMs: 60_000 })],
    })
    await world.publish('p1/a', 'p2/a', 'p3/b', 'p4/c', 'p5/d')

    const report = await world.poll(consumer)

    expect(calls).toEqual(['p1'])
    expect(report.rateLimited).toBe(4)
  })

  it.each([
    [
      'throws',
      () => {
        throw new Error('no key')
      },
    ],
    ['is empty', () => ''],
    ['is 1 MB', () => 'x'.repeat(1_000_000)],
    ['is no text', () => 7 as never],
    ['is a promise', () => Promise.resolve('a')],
  ])('makes a dead letter of what it has no name for, where by %s', async (_title, by) => {
    const world = await start()
    const use = [
      rateLimit({ max: 1, perMs: 1_000, by: by as () => string }),
      concurrencyLimit({ max: 1, by: () => undefined }),
    ]
    await world.publish('p1')

    expect(counts(await world.poll(billing(() => {}, { use })))).toEqual({ read: 1, deadLettered: 1 })
  })
})

describeEverywhere('concurrencyLimit()', (start) => {
  it('gives each name its places', async () => {
    const world = await start()
    const running = new Map<string, number>()
    const peaks = new Map<string, number>()
    const consumer = billing(
      async ({ payload: { key = '' } }) => {
        running.set(key, (running.get(key) ?? 0) + 1)
        peaks.set(key, Math.max(peaks.get(key) ?? 0, running.get(key) ?? 0))
        await sleep(10)
        running.set(key, (running.get(key) ?? 0) - 1)
      },
      { use: [concurrencyLimit({ max: 2, by: ({ payload }) => (payload as { key?: string }).key })] },
    )
    await world.publish('p1/a', 'p2/a', 'p3/a', 'p4/b', 'p5/c', 'p6', 'p7', 'p8')

    await world.poll(consumer)
    await claimAll(world, consumer)

    expect(Object.fromEntries(peaks)).toEqual({ '': 3, a: 2, b: 1, c: 1 })
    expect(await world.pending()).toEqual([])
  })
})

describeEverywhere('the order of policies', (start) => {
  it('what waits for its circuit breaker holds no place and takes no turn', async () => {
    const world = await start()
    const calls: string[] = []
    const fails = () => {
      throw new Error('out')
    }
    const limits = [concurrencyLimit({ max: 1 }), rateLimit({ max: 100, perMs: 1_000 })]
    const use = [circuitBreaker({ failures: 1, perMs: 60_000, probeAfterMs: 3_600_000 }), ...limits]
    await world.publish('p1')
    await world.poll(billing(fails, { use }))
    await world.publish('p2', 'p3', 's1')

    const report = await world.poll(billing(({ payload }) => calls.push(payload.id), { use }))

    expect(calls).toEqual(['s1'])
    expect(counts(report)).toEqual({ read: 3, acked: 1, parked: 2, invoked: 1 })
    expect([report.circuitOpen, report.rateLimited, report.concurrencyLimited]).toEqual([2, 0, 0])
  })

  it('what waits for a place takes no turn, and a duplicate needs neither', async () => {
    const world = await start()
    const calls: string[] = []
    const use = [
      idempotent({ ttlMs: 86_400_000 }),
      concurrencyLimit({ max: 1, by: ({ payload }) => (payload as { key?: string }).key }),
      rateLimit({ max: 100, perMs: 1_000 }),
    ]
    let end = () => {}
    const ended = new Promise<void>((resolve) => {
      end = resolve
    })
    const slow = billing(
      async ({ payload }) => {
        calls.push(payload.id)
        await ended
      },
      { use, mode: 'once' },
    )
    await world.publish('p1/a')
    const holding = world.poll(slow)
    while (calls.length === 0) await sleep(5)
    await world.publish('p2/a')
    const waits = await world.poll(billing(({ payload }) => calls.push(payload.id), { use, mode: 'once' }))
    end()
    await holding
    await world.publish('p1/a')
    const duplicate = await world.poll(billing(({ payload }) => calls.push(payload.id), { use, mode: 'once' }))

    expect(counts(waits)).toEqual({ read: 1, parked: 1 })
    expect([waits.concurrencyLimited, waits.rateLimited]).toEqual([1, 0])
    expect(counts(duplicate)).toEqual({ read: 1, acked: 1, duplicates: 1 })
  })
})

it('refuses what does not fit when the module loads', () => {
  const define =
    (use: Parameters<typeof on>[2], route = on) =>
    () =>
      defineConsumer({
        stream: 'orders',
        group: 'billing',
        routes: [route(Shipped, () => {}, use as never)],
        concurrency: 2,
      })

  expect(define({ use: [concurrencyLimit({ max: 13 })] })).toThrow(
    'max must be <= 12, which is concurrency 2 x (maxPollers 4 + 2 claimers): no more is handled at once, got 13',
  )
  expect(define({ use: [rateLimit({ max: 1, perMs: 1_000 })] }, onBatch as never)).toThrow(
    'it must be used on routes of one event a call, got the batch route of "Shipped"',
  )
  expect(() => rateLimit({ max: 0, perMs: 1_000 })).toThrow('max must be')
  expect(() => rateLimit({ max: 1, perMs: 99 })).toThrow('perMs must be')
  expect(() => circuitBreaker({ failures: 1.5, perMs: 1, probeAfterMs: 1 })).toThrow('failures must be')
  expect(() => circuitBreaker({ failures: 1, perMs: 1, probeAfterMs: 0 })).toThrow('probeAfterMs must be')
  expect(() => circuitBreaker({ ...opening, when: (async () => true) as never })).toThrow('when must be a function')
  expect(() => concurrencyLimit({ max: 1, by: 'a' as never })).toThrow('by must be a function')
})
