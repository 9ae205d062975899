import { setTimeout as delay } from 'node:timers/promises'
import type { ConsumerOptions, Route } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, effects, NonRetryableError, on, orderedBy, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { redriveDeadLetters } from 'millrace/operate'
import { expect, onTestFinished, test } from 'vitest'
import * as z from 'zod/mini'
import { createRedisConnection } from '../../dist/group/redis/redis-connection.js'
import { claimOnce } from '../support/claim-once.ts'
import { startScenario } from '../support/scenario.ts'

const Stepped = defineEvent('Stepped', { payload: z.object({ id: z.string() }) })

function billing(route: Route, options: Partial<ConsumerOptions> = {}) {
  return defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [route],
    backoff: { firstMs: 0, factor: 1, maxMs: 0 },
    use: [orderedBy(({ aggregateId }) => aggregateId)],
    ...options,
  })
}

async function start() {
  const scenario = await startScenario()
  const publisher = createPublisher({ stream: 'orders', redis: scenario.redis })
  const publish = (...ids: string[]) =>
    publisher.publishMany(ids.map((id) => [Stepped, { id }, { aggregateId: id[0] as string }] as const))
  return { ...scenario, publish }
}

test('what follows effects that a full server refused waits behind them', async () => {
  const { redis, raw, publish } = await start()
  const calls: string[] = []
  let isFull = true
  const consumer = billing(
    on(Stepped, async ({ payload: { id } }, context) => {
      calls.push(id)
      effects(context).increment('{orders}:booked')
      if (isFull) await raw.config('SET', 'maxmemory', '1mb')
      isFull = false
    }),
  )
  await publish('a1', 'a2')

  await poll(consumer, { redis }).catch(() => {})
  await raw.config('SET', 'maxmemory', '0')
  const rows = (await raw.xpending('orders', 'billing', '-', '+', 10)) as [string][]
  expect(await raw.hget('{orders}:billing:lanes', 'orderedBy =a')).toBe(rows[0]?.[0])
  // its time has come
  await raw.zadd('{orders}:billing:due', 1, rows[0]?.[0] as string)
  for (let round = 0; round < 3; round++) {
    await poll(consumer, { redis })
    await claimOnce(consumer, { redis })
  }

  expect(calls).toEqual(['a1', 'a1', 'a2'])
})

test('a full server starts nothing of a key beside what runs of it', { timeout: 60_000 }, async () => {
  const { redis, raw, server, publish } = await start()
  const log: string[] = []
  let isHopeless = true
  let go = () => {}
  const gate = new Promise<void>((resolve) => {
    go = resolve
  })
  const consumer = billing(
    on(Stepped, async ({ payload: { id } }) => {
      log.push(`+${id}`)
      if (id === 'a1' && isHopeless) throw new NonRetryableError('never')
      if (id === 'a2') await gate
      log.push(`-${id}`)
    }),
  )
  await publish('a1')
  await poll(consumer, { redis })
  isHopeless = false
  await publish('a2')
  const polling = poll(consumer, { redis })
  while (!log.includes('+a2')) await delay(5)
  await redriveDeadLetters(consumer, { redis, all: true })
  const inner = connectIoredis(server.url) as unknown as {
    readonly transport: { readonly scriptPrefix: string; send(...args: unknown[]): Promise<unknown> }
    close(): Promise<void>
  }
  onTestFinished(() => inner.close())
  let requests = 0
  // full once it has its slot
  const other = createRedisConnection({
    scriptPrefix: inner.transport.scriptPrefix,
    async send(...args: unknown[]) {
      if (++requests === 2) await raw.config('SET', 'maxmemory', '1mb')
      return inner.transport.send(...args)
    },
    close: async () => {},
  } as never)

  await claimOnce(consumer, { redis: other }).catch(() => {})
  await raw.config('SET', 'maxmemory', '0')
  go()
  await polling
  for (let round = 0; round < 3; round++) {
    await poll(consumer, { redis })
    await claimOnce(consumer, { redis })
  }

  expect(requests).toBeGreaterThan(1)
  expect(log).toEqual(['+a1', '+a2', '-a2', '+a1', '-a1'])
})

test('what waited for a letter goes on where runs without order took some of it', { timeout: 60_000 }, async () => {
  const { redis, publish } = await start()
  const calls: string[] = []
  let fails = true
  const route = on(Stepped, ({ payload: { id } }) => {
    calls.push(id)
    if (id === 'a1') throw new NonRetryableError('never')
    if (id === 'a2' && fails) throw new Error('once')
  })
  const keeping = (afterDeadLetter: 'wait' | 'continue') => ({
    backoff: { firstMs: 100, factor: 1, maxMs: 100 },
    use: [orderedBy(({ aggregateId }) => aggregateId, { afterDeadLetter })],
  })
  await publish('a1', 'a2')
  await poll(billing(route, keeping('wait')), { redis })
  while (!calls.includes('a2')) await claimOnce(billing(route, { ...keeping('wait'), use: [] }), { redis })
  fails = false

  const going = billing(route, keeping('continue'))
  await publish('a3')
  for (let round = 0; round < 20 && !calls.includes('a3'); round++) {
    await poll(going, { redis })
    await claimOnce(going, { redis })
    await delay(20)
  }

  expect(calls).toEqual(['a1', 'a2', 'a2', 'a3'])
})
