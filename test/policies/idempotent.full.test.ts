import { Metrics } from '@aws-lambda-powertools/metrics'
import type { Observed, Report } from 'millrace'
import { defineConsumer, definePolicy, idempotent, on, onBatch, poll, RetryAfterError } from 'millrace'
import { reportMetrics } from 'millrace/powertools'
import { expect, it } from 'vitest'
import { captureOutput } from '../support/metric-lines.ts'
import type { World } from './world.ts'
import { billing, counts, describeEverywhere, loseAnswer, Paid, Shipped } from './world.ts'

const DAY_MS = 86_400_000
const once = { use: [idempotent({ ttlMs: DAY_MS })] }

/** Polls and claims until nothing is pending. */
async function settleAll(world: World, consumer: Parameters<World['poll']>[0]): Promise<Report[]> {
  const reports: Report[] = []
  for (let round = 0; round < 6; round++) {
    reports.push(await world.poll(consumer))
    await world.pass(120_000)
    reports.push(await world.claim(consumer))
    await world.pass(120_000)
  }
  expect(await world.pending()).toEqual([])
  return reports
}

describeEverywhere('idempotent()', (start) => {
  it('acknowledges an event that was handled without a call, and counts it', async () => {
    const world = await start()
    const calls: string[] = []
    const consumer = billing(({ payload }) => calls.push(payload.id), once)
    await world.publish('p1')
    const first = counts(await world.poll(consumer))
    await world.publish('p1', 'p2')
    const second = counts(await world.poll(consumer))

    expect(calls).toEqual(['p1', 'p2'])
    expect([first, second]).toEqual([
      { read: 1, acked: 1, invoked: 1 },
      { read: 2, acked: 2, duplicates: 1, invoked: 1 },
    ])
    expect(await world.pending()).toEqual([])
  })

  it('shows observers what was acknowledged without a call, and counts no commit that failed', async () => {
    const world = await start()
    const acked: unknown[] = []
    const lines = captureOutput()
    const observe = [
      reportMetrics(new Metrics({ namespace: 'Millrace', serviceName: 'shop' })),
      { acked: ({ entries }: Observed['acked']) => void acked.push(...entries.map((entry) => entry.isDuplicate)) },
    ]
    await world.publish('p1', 'p1', 'p2')

    await poll(
      billing(() => {}, once),
      { redis: world.redis, remainingMs: 20_000, observe },
    )

    const metric = (name: string) => lines.flatMap((line) => (JSON.parse(line) as Record<string, number>)[name] ?? [])
    expect([acked.length, acked.filter(Boolean)]).toEqual([3, [true]])
    expect([metric('DuplicateEventCount'), metric('CommitErrorCount').filter((count) => count !== 0)]).toEqual([
      [1],
      [],
    ])
  })

  it('calls once for entries of one event that are read together', async () => {
    const world = await start()
    const calls: string[] = []
    const consumer = billing(async ({ payload }) => {
      await new Promise((resolve) => setImmediate(resolve))
      calls.push(payload.id)
    }, once)
    await world.publish('p1', 'p1', 'p2', 'p1')

    const report = await world.poll(consumer)

    expect(calls.sort()).toEqual(['p1', 'p2'])
    expect(counts(report)).toEqual({ read: 4, acked: 4, duplicates: 2, invoked: 2 })
    expect(await world.pending()).toEqual([])
  })

  it('calls for the next of an event once the one before is a dead letter', async () => {
    const world = await start()
    const calls: number[] = []
    let fails = true
    const consumer = billing(
      (_event, { deliveryCount }) => {
        calls.push(deliveryCount)
        if (fails && deliveryCount === 2) fails = false
        if (fails || deliveryCount === 2) throw new Error('no')
      },
      { ...once, maxDeliveries: 2 },
    )
    await world.publish('p1', 'p1')

    const first = await world.poll(consumer)
    expect(counts(first)).toEqual({ read: 2, retried: 1, parked: 1, invoked: 1 })
    expect(await world.pending()).toEqual([
      ['p1', 'parked', 1],
      ['p1', 'parked', 0],
    ])
    const reports = await settleAll(world, consumer)

    expect(calls).toEqual([1, 2, 1])
    const sum = (name: 'deadLettered' | 'acked' | 'duplicates') => reports.reduce((n, report) => n + report[name], 0)
    expect([sum('deadLettered'), sum('acked'), sum('duplicates')]).toEqual([1, 1, 0])
  })

  it('acknowledges those that wait once the one that failed has succeeded', async () => {
    const world = await start()
    const calls: number[] = []
    const consumer = billing((_event, { deliveryCount }) => {
      calls.push(deliveryCount)
      if (deliveryCount < 3) throw new RetryAfterError(1_000)
    }, once)
    await world.publish('p1', 'p1', 'p1')

    const reports = await settleAll(world, consumer)

    expect(calls).toEqual([1, 2, 3])
    expect(reports.reduce((n, { duplicates }) => n + duplicates, 0)).toBe(2)
  })

  it('has an entry wait for one that another poller runs', async () => {
    const world = await start()
    const calls: string[] = []
    let nested: Report | undefined
    const consumer = billing(
      async ({ payload }) => {
        calls.push(payload.id)
        if (calls.length > 1) return
        await world.publish('p1')
        nested = await world.poll(consumer)
      },
      { ...once, batchSize: 1, mode: 'once' },
    )
    await world.publish('p1')

    const report = await world.poll(consumer)
    expect(counts(nested as Report)).toEqual({ read: 1, parked: 1 })
    expect(counts(report)).toEqual({ read: 1, acked: 1, invoked: 1 })
    const reports = await settleAll(world, consumer)

    expect(calls).toEqual(['p1'])
    expect(reports.reduce((n, { duplicates }) => n + duplicates, 0)).toBe(1)
  })

  it('acknowledges no duplicate of an entry whose acknowledgement was refused', async () => {
    const world = await start()
    const calls: string[] = []
    const joins = definePolicy({ name: 'joins', begin: () => ({ joins: () => [['SADD', '{orders}:text', 'x']] }) })
    const consumer = billing(({ payload }) => calls.push(payload.id), { use: [...once.use, joins] })
    await world.command('SET', '{orders}:text', 'no set')
    await world.publish('p1', 'p1')

    await expect(world.poll(consumer)).rejects.toThrow(/WRONGTYPE/)
    expect(await world.pending()).toEqual([
      ['p1', 'parked', 1],
      ['p1', 'parked', 0],
    ])
    await world.command('DEL', '{orders}:text')
    const reports = await settleAll(world, consumer)

    expect(calls).toEqual(['p1', 'p1'])
    expect(reports.reduce((n, { duplicates }) => n + duplicates, 0)).toBe(1)
  })

  it('has no other entry wait for one that a policy refuses', async () => {
    const world = await start()
    const calls: string[] = []
    const seen = new Set<string>()
    const first = definePolicy({
      name: 'first',
      begin: () => ({
        admit: (jobs) =>
          jobs.map((job) => (seen.size === 0 && seen.add(job.entryId) ? { action: 'park', delayMs: 0 } : undefined)),
      }),
    })
    const consumer = billing(({ payload }) => calls.push(payload.id), { use: [first, ...once.use] })
    await world.publish('p1', 'p1')

    expect(counts(await world.poll(consumer))).toEqual({ read: 2, parked: 2 })
    await settleAll(world, consumer)
    expect(calls).toEqual(['p1'])
  })

  it('remembers over the life of its group', async () => {
    const world = await start()
    const calls: string[] = []
    const consumer = billing(({ payload }) => calls.push(payload.id), once)
    await world.publish('p1', 'p2')
    await world.poll(consumer)
    await world.loseGroup()

    const reports = await settleAll(world, consumer)

    expect(calls).toEqual(['p1', 'p2'])
    expect(reports.reduce((n, { duplicates }) => n + duplicates, 0)).toBe(2)
  })

  it.each([1, 2])('calls once though the answer to read %i is lost, and twice published', async (nth) => {
    const world = await start()
    const calls: string[] = []
    const consumer = billing(({ payload }) => calls.push(payload.id), once)
    await world.publish('p1', 'p2', 'p1')

    await loseAnswer(world, consumer, { nth, change: () => world.publish('p1', 'p2') })

    expect(calls.sort()).toEqual(['p1', 'p2'])
  })

  it('goes by what `by` answers, for each type on its own', async () => {
    const world = await start()
    const calls: string[] = []
    const by = ({ payload }: { readonly payload: unknown }) => (payload as { key?: string }).key
    const use = [idempotent({ ttlMs: DAY_MS, by, withoutKey: 'call' })]
    const consumer = billing(({ payload }) => calls.push(payload.id), { use })
    await world.publish('p1/a', 'p2/a', 's1/a', 'p3', 'p4')

    const report = await world.poll(consumer)

    expect(calls.sort()).toEqual(['p1', 'p3', 'p4', 's1'])
    expect(counts(report)).toEqual({ read: 5, acked: 5, duplicates: 1, invoked: 4, unguarded: 2 })
  })

  it.each<[string, () => unknown]>([
    ['undefined', () => undefined],
    ['empty text', () => ''],
    ['a number', () => 7],
    ['a promise', () => Promise.reject(new Error('no'))],
    ['more than a kilobyte', () => 'é'.repeat(513)],
    [
      'nothing, since it throws',
      () => {
        throw new Error('no')
      },
    ],
  ])('makes an entry a dead letter for which `by` answers %s', async (_what, by) => {
    const world = await start()
    const consumer = billing(() => {}, { use: [idempotent({ ttlMs: DAY_MS, by: by as () => string })] })
    await world.publish('p1')

    expect(counts(await world.poll(consumer))).toEqual({ read: 1, deadLettered: 1 })
  })

  it('guards each event of a batch', async () => {
    const world = await start()
    const calls: string[][] = []
    const consumer = defineConsumer({
      stream: 'orders',
      group: 'billing',
      routes: [onBatch(Paid, (events) => void calls.push(events.map(({ payload }) => payload.id)))],
      ...once,
    })
    await world.publish('p1', 'p2', 'p1')
    const first = counts(await world.poll(consumer))
    await world.publish('p2', 'p3')
    const second = counts(await world.poll(consumer))

    expect(calls).toEqual([['p1', 'p2'], ['p3']])
    expect([first, second]).toEqual([
      { read: 3, acked: 3, duplicates: 1, invoked: 2 },
      { read: 2, acked: 2, duplicates: 1, invoked: 1 },
    ])
  })

  it('guards the route that it is used on alone', async () => {
    const world = await start()
    const calls: string[] = []
    const handle = ({ payload }: { payload: { id: string } }) => void calls.push(payload.id)
    const consumer = defineConsumer({
      stream: 'orders',
      group: 'billing',
      routes: [on(Paid, handle, once), on(Shipped, handle)],
    })
    await world.publish('p1', 'p1', 's1', 's1')
    await world.poll(consumer)

    expect(calls.sort()).toEqual(['p1', 's1', 's1'])
  })

  it('handles more than a script takes at once', async () => {
    const world = await start()
    let calls = 0
    const ids = Array.from({ length: 250 }, (_, n) => `p${n}`)
    const consumer = billing(() => calls++, { ...once, batchSize: 1_000 })
    await world.publish(...ids, ...ids)

    const report = await world.poll(consumer)

    expect(calls).toBe(250)
    expect(counts(report)).toEqual({ read: 500, acked: 500, duplicates: 250, invoked: 250 })
  })

  it.each(['\n1-1', 'é1-1', 'x1-1', 'h', 'd1-', 'nothing'])(
    'takes a marker that is none for none: %j',
    async (text) => {
      const world = await start()
      const calls: string[] = []
      await world.command('SET', '{orders}:billing:event:id:p1', text)
      await world.publish('p1', 'p2', 'p1')

      const report = await world.poll(billing(({ payload }) => calls.push(payload.id), once))

      expect([calls.sort(), counts(report)]).toEqual([['p1', 'p2'], { read: 3, acked: 3, duplicates: 1, invoked: 2 }])
    },
  )

  it('takes a marker of another type for none', async () => {
    const world = await start()
    const calls: string[] = []
    await world.command('SADD', '{orders}:billing:event:id:p1', 'x')
    await world.publish('p1', 'p2', 'p1')

    const report = await world.poll(billing(({ payload }) => calls.push(payload.id), once))

    expect([calls.sort(), counts(report)]).toEqual([['p1', 'p2'], { read: 3, acked: 3, duplicates: 1, invoked: 2 }])
  })

  it('holds an event for longer than its marker stands', async () => {
    const world = await start()
    const calls: string[] = []
    const use = [idempotent({ ttlMs: 30 })]
    const options = { use, maxDeliveries: 1, handlerTimeoutMs: 30, concurrency: 1 }
    const consumer = billing(async ({ payload }) => {
      calls.push(payload.id)
      await new Promise((resolve) => setTimeout(resolve, 25))
    }, options)
    await world.publish('p1', 'p2', 'p3', 'p4', 'p5')
    const polling = world.poll(consumer)
    await expect.poll(() => calls.length).toBeGreaterThan(0)
    await world.publish('p5')
    await world.poll(consumer)
    await polling

    expect(calls.filter((id) => id === 'p5')).toHaveLength(1)
  })

  it('believes the server, not what it remembers of a run', async () => {
    const world = await start()
    const calls: string[] = []
    const consumer = billing(
      async ({ payload }) => {
        calls.push(payload.id)
        if (payload.id !== 'p2') return
        // as an eviction does
        await world.command('DEL', '{orders}:billing:event:id:p1')
        await world.publish('p1')
      },
      { ...once, batchSize: 1 },
    )
    await world.publish('p1', 'p2')

    await world.poll(consumer)

    expect(calls).toEqual(['p1', 'p2', 'p1'])
  })

  it('keeps names of types, and of events, apart', async () => {
    const world = await start()
    const calls: string[] = []
    const by = ({ type, payload }: { readonly type: string; readonly payload: unknown }) =>
      type === 'Paid' ? (payload as { id: string }).id : undefined
    const handle = ({ payload }: { payload: { id: string } }) => void calls.push(payload.id)
    const consumer = defineConsumer({
      stream: 'orders',
      group: 'billing',
      routes: [on(Paid, handle, { use: [idempotent({ ttlMs: DAY_MS, by })] }), on(Shipped, handle, once)],
    })
    await world.publish('pp', 'sby:Paid:pp', 'sid:pp')
    await world.poll(consumer)

    expect(calls.sort()).toEqual(['pp', 'sby:Paid:pp', 'sid:pp'])
  })
})

it.each<[string, () => unknown, RegExp]>([
  ['no ttlMs', () => idempotent({} as never), /ttlMs/],
  ['a ttlMs of a part', () => idempotent({ ttlMs: 1.5 }), /ttlMs/],
  ['an unknown option', () => idempotent({ ttlMs: 1, days: 1 } as never), /days/],
  ['a by that answers later', () => idempotent({ ttlMs: 1, by: (async () => 'x') as never }), /by/],
  ['a withoutKey that is none', () => idempotent({ ttlMs: 1, withoutKey: 'ignore' as never }), /withoutKey/],
  [
    'a ttlMs below the retries',
    () => billing(() => {}, { use: [idempotent({ ttlMs: 10 })], backoff: {} }),
    /ttlMs must be >= .* 68000 or more, got 10$/,
  ],
  [
    'a ttlMs below the retries of a consumer that retries without end',
    () =>
      billing(() => {}, { use: [idempotent({ ttlMs: 10 })], maxDeliveries: 1e9, backoff: { firstMs: 0, factor: 2 } }),
    /or more, got 10; it must be <= 31622400000 as well: lower maxDeliveries or backoff$/,
  ],
  [
    'one on the consumer and one on a route',
    () =>
      defineConsumer({
        stream: 's',
        group: 'g',
        routes: [on(Paid, () => {}, { use: [idempotent({ ttlMs: DAY_MS })] })],
        ...once,
      }),
    /on the consumer and on a route/,
  ],
])('idempotent() refuses %s', (_what, make, message) => {
  expect(make).toThrow(message)
})
