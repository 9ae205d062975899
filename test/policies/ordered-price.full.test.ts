import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import type { ConsumerOptions } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, on, orderedBy, poll } from 'millrace'
import { expect, test } from 'vitest'
import * as z from 'zod/mini'
import { startScenario } from '../support/scenario.ts'

const Paid = defineEvent('Paid', { payload: z.object({ n: z.number() }) })
const LANES = ['{orders}:billing:lanes', '{orders}:billing:lane-of'] as const

interface Call {
  readonly n: number
  readonly key: string
  readonly deliveryCount: number
}

function billing(handle: (call: Call) => unknown, options: Partial<ConsumerOptions> = {}) {
  return defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [
      on(Paid, ({ payload: { n }, aggregateId: key = '' }, { deliveryCount }) => handle({ n, key, deliveryCount })),
    ],
    use: [orderedBy(({ aggregateId }) => aggregateId)],
    ...options,
  })
}

async function start() {
  const scenario = await startScenario()
  const { raw, redis } = scenario
  const publisher = createPublisher({ stream: 'orders', redis })
  let n = 0
  const publish = (...keys: string[]) =>
    publisher.publishMany(keys.map((aggregateId) => [Paid, { n: n++ }, { aggregateId }] as const))
  const inLanes = async () => (await Promise.all(LANES.map((key) => raw.hlen(key)))).reduce((sum, size) => sum + size)
  /** Commands that the server ran, those within scripts too. */
  const commands = async () =>
    [...(await raw.info('commandstats')).matchAll(/^cmdstat_(?!info|config)\S+?:calls=(\d+)/gm)].reduce(
      (sum, [, calls]) => sum + Number(calls),
      0,
    )
  return { ...scenario, publish, inLanes, commands }
}

test('a hot key has no lane soon after a failure, while more of it comes', { timeout: 60_000 }, async () => {
  const { redis, publish, inLanes } = await start()
  const seen: number[] = []
  let hasFailed = false
  const consumer = billing(
    async ({ n, deliveryCount }) => {
      await nextTurn()
      if (n === 0 && deliveryCount === 1) {
        hasFailed = true
        throw new Error('once')
      }
      seen.push(n)
    },
    { backoff: { firstMs: 300, factor: 1, maxMs: 300 } },
  )
  await poll(consumer, { redis })
  let published = 0
  let publishedWhenFree: number | undefined
  const publishing = (async () => {
    const startedAt = performance.now()
    for (; published < 1_000; published++) {
      await publish('hot')
      await delay(Math.max(0, startedAt + published * 5 - performance.now()))
    }
  })()
  const watching = (async () => {
    let hadLane = false
    while (published < 1_000 && publishedWhenFree === undefined) {
      const size = await inLanes()
      hadLane ||= hasFailed && size > 0
      if (hadLane && size === 0) publishedWhenFree = published
      await delay(2)
    }
  })()

  while (published < 1_000) await poll(consumer, { redis, remainingMs: 20_000 })
  await Promise.all([publishing, watching])
  await poll(consumer, { redis })

  expect(publishedWhenFree).toBeLessThan(900)
  expect(seen).toEqual(Array.from({ length: 1_000 }, (_, n) => n))
})

test('a lane longer than a take drains one by one, its end together', async () => {
  const { redis, raw, publish, inLanes } = await start()
  const seen: number[] = []
  const consumer = billing(
    ({ n, deliveryCount }) => {
      if (n === 0 && deliveryCount === 1) throw new Error('once')
      seen.push(n)
    },
    { backoff: { firstMs: 3_600_000, factor: 1, maxMs: 3_600_000 } },
  )
  const { roundTrips: idle } = await poll(consumer, { redis })
  await publish(...Array.from({ length: 201 }, () => 'one'))
  await poll(consumer, { redis })
  expect(seen).toEqual([])

  const { roundTrips: waiting } = await poll(consumer, { redis })
  await raw.zadd('{orders}:billing:due', 1, (await raw.zrange('{orders}:billing:due', '0', '0'))[0] as string)
  const { roundTrips: draining, durationMs } = await poll(consumer, { redis })

  expect(seen).toEqual(Array.from({ length: 201 }, (_, n) => n))
  expect(waiting).toBeLessThanOrEqual(idle + 1)
  // a hundred of the two hundred came alone
  expect(draining).toBeLessThan(260)
  expect(durationMs).toBeLessThan(3_000)
  expect(await inLanes()).toBe(0)
})

test('lanes of which none may start cost a run one request', async () => {
  const { redis, publish, inLanes } = await start()
  const consumer = billing(
    () => {
      throw new Error('no')
    },
    { backoff: { firstMs: 3_600_000, factor: 1, maxMs: 3_600_000 } },
  )
  for (let run = 0; run < 2; run++) await poll(consumer, { redis })
  const { roundTrips: idle } = await poll(consumer, { redis })
  await publish(...Array.from({ length: 500 }, (_, n) => `k${n}`))
  await poll(consumer, { redis })
  expect(await inLanes()).toBe(1_000)

  expect((await poll(consumer, { redis })).roundTrips).toBeLessThanOrEqual(idle + 1)
})

test('with nothing failing a hundred events cost three commands more at most', async () => {
  const { redis, raw, publish, commands } = await start()
  const cost = async (consumer: ReturnType<typeof billing>) => {
    await raw.flushall()
    for (let run = 0; run < 2; run++) await poll(consumer, { redis })
    await publish(...Array.from({ length: 5_000 }, (_, n) => `k${n % 100}`))
    const before = await commands()
    const { acked, roundTrips } = await poll(consumer, { redis })
    return { acked, perHundred: ((await commands()) - before) / 50, roundTrips }
  }

  const without = billing(() => {}, { use: [], maxPollers: 1 })
  // scripts are sent by their text at first, and what a lost group had set aside is looked up once
  for (const consumer of [without, billing(() => {})]) await cost(consumer)
  const plain = await cost(without)
  const ordered = await cost(billing(() => {}))

  expect([plain.acked, ordered.acked]).toEqual([5_000, 5_000])
  expect(ordered.perHundred - plain.perHundred).toBeLessThanOrEqual(3)
  expect(ordered.roundTrips).toBeLessThanOrEqual(plain.roundTrips)
})
