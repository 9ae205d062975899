import fc from 'fast-check'
import type { Consumer, EventHandler } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, envelopeCodec, on, poll } from 'millrace'
import { connectMemory, createVirtualClock } from 'millrace/testing'
import { describe, expect, it } from 'vitest'
import * as z from 'zod/mini'
import { claimOnce } from '../support/claim-once.ts'

const TYPES = ['A', 'B', 'C'] as const
const EVENTS = TYPES.map((type) => defineEvent(type, { payload: z.object({ n: z.number() }) }))

const scene = fc.record({
  maxDeliveries: fc.array(fc.option(fc.integer({ min: 1, max: 7 }), { nil: undefined }), {
    minLength: 3,
    maxLength: 3,
  }),
  ofConsumer: fc.integer({ min: 1, max: 7 }),
  /** Of which type each event is, how often its handler fails, and whether it hangs instead. */
  events: fc.array(fc.record({ type: fc.nat(2), failures: fc.integer({ min: 0, max: 9 }), hangs: fc.boolean() }), {
    minLength: 1,
    maxLength: 12,
  }),
  concurrency: fc.integer({ min: 1, max: 4 }),
  batchSize: fc.integer({ min: 1, max: 12 }),
  isTypeField: fc.boolean(),
  /** A process reads so many and dies, never having called for them. */
  dies: fc.integer({ min: 0, max: 4 }),
  /** Who retries. */
  runs: fc.array(fc.constantFrom('claim', 'listen'), { minLength: 1, maxLength: 4 }),
})

type Scene = typeof scene extends fc.Arbitrary<infer T> ? T : never

describe('routes with as many deliveries as they say (promise 2)', () => {
  it('call each entry that often, whoever retries it, and no more', async () => {
    await fc.assert(fc.asyncProperty(scene, play), { numRuns: 200 })
  }, 120_000)
})

async function play({ maxDeliveries, ofConsumer, events, concurrency, batchSize, isTypeField, dies, runs }: Scene) {
  const clock = createVirtualClock()
  const redis = connectMemory({ clock })
  const calls = new Map<number, number[]>()
  const handler: EventHandler<never> = (event, { deliveryCount }) => {
    const { n } = (event as { payload: { n: number } }).payload
    const made = calls.get(n) ?? []
    calls.set(n, [...made, deliveryCount])
    const { failures, hangs } = events[n] as Scene['events'][number]
    if (made.length >= failures) return undefined
    return hangs ? new Promise(() => {}) : Promise.reject(new Error('down'))
  }
  const routes = EVENTS.map((event, n) => on(event, handler as never, limit(maxDeliveries[n])))
  const consumer = defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes,
    maxDeliveries: ofConsumer,
    concurrency,
    batchSize,
    codec: isTypeField ? envelopeCodec : { decode: (fields, id) => envelopeCodec.decode(fields, id) },
    backoff: { firstMs: 0 },
    handlerTimeoutMs: 100,
    minIdleMs: 5_100,
    reserveMs: 100,
  })
  const publisher = createPublisher({ stream: 'orders', redis, clock })
  for (const [n, { type }] of events.entries()) await publisher.publish(EVENTS[type] as (typeof EVENTS)[number], { n })
  const dead = dies > 0 ? await readAndDie(redis, consumer, dies) : 0
  await advance(clock, poll(consumer, { redis, clock, remainingMs: 3_000 }))
  for (let round = 0; round < 60 && redis.pending('orders', 'billing').length > 0; round++) {
    await clock.advance(6_000)
    const kind = runs[round % runs.length]
    const options = { redis, clock, remainingMs: 3_000 }
    await advance(
      clock,
      kind === 'claim' || round % 3 === 2
        ? claimOnce(consumer, options)
        : poll(consumer, { ...options, mode: 'listen' }),
    )
  }

  expect(redis.pending('orders', 'billing')).toEqual([])
  const letters = redis.entries('{orders}:billing:dlq').map(({ fields }) => {
    const payload = fields.findLast(([name]) => name === 'payload')?.[1]
    return (JSON.parse(payload as string) as { n: number }).n
  })
  for (const [n, { type, failures }] of events.entries()) {
    // what a process held that died is a delivery poorer
    const lost = n < dead ? 1 : 0
    const most = (maxDeliveries[type] ?? ofConsumer) - lost
    const wanted = Math.min(most, failures + 1)
    expect(calls.get(n) ?? []).toEqual(Array.from({ length: wanted }, (_, nth) => nth + 1 + lost))
    expect(letters.filter((letter) => letter === n)).toHaveLength(failures >= most ? 1 : 0)
  }
}

function limit(maxDeliveries: number | undefined) {
  return maxDeliveries === undefined ? {} : { maxDeliveries }
}

async function readAndDie(redis: ReturnType<typeof connectMemory>, consumer: Consumer, count: number): Promise<number> {
  const group = redis.group(consumer)
  const slot = await group.takeSlot('poller', 4, 1)
  const { entries } = await group.settleAndRead(slot as NonNullable<typeof slot>, [], { count, maxPending: 100 })
  return entries.length
}

/** Moves the clock on until a run is over. */
async function advance(clock: ReturnType<typeof createVirtualClock>, run: Promise<unknown>): Promise<void> {
  let isOver = false
  const ending = run.finally(() => {
    isOver = true
  })
  while (!isOver) await clock.advance(50)
  await ending
}
