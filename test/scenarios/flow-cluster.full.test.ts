import { circuitBreaker, concurrencyLimit, createPublisher, defineConsumer, on, poll, rateLimit } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { closeBreakers, openBreakers } from 'millrace/operate'
import { expect, onTestFinished, test } from 'vitest'
import { STREAM_OF, startCluster } from '../support/cluster.ts'
import { OrderPaid } from '../support/consumer.ts'
import { startScenario } from '../support/scenario.ts'

const use = [
  circuitBreaker({ failures: 1, perMs: 60_000, probeAfterMs: 60_000 }),
  concurrencyLimit({ max: 2 }),
  rateLimit({ max: 100, perMs: 1_000 }),
]

test('on a cluster limits and breakers lie where the stream does', { timeout: 60_000 }, async () => {
  const cluster = await startCluster()
  onTestFinished(() => cluster.stop())
  const redis = connectIoredis(cluster.url)
  onTestFinished(() => redis.close())
  for (const stream of STREAM_OF) {
    let fails = false
    const handle = () => {
      if (fails) throw new Error('out')
    }
    const consumer = defineConsumer({ stream, group: 'billing', routes: [on(OrderPaid, handle)], use })
    const publisher = createPublisher({ stream, redis })
    for (const orderId of ['a', 'b', 'c']) await publisher.publish(OrderPaid, { orderId })

    expect(await poll(consumer, { redis })).toMatchObject({ acked: 3 })
    fails = true
    await publisher.publish(OrderPaid, { orderId: 'd' })
    expect(await poll(consumer, { redis })).toMatchObject({ parked: 1, circuitOpen: 1 })
    expect(await openBreakers(consumer, { redis })).toMatchObject([{ eventType: 'OrderPaid', error: 'Error' }])
    expect(await closeBreakers(consumer, { redis })).toHaveLength(1)
    expect(await openBreakers(consumer, { redis })).toEqual([])
  }
})

test.each([
  ['concurrencyLimit()', concurrencyLimit({ max: 2 })],
  ['rateLimit()', rateLimit({ max: 100, perMs: 1_000 })],
])('with memory full nothing starts under %s, and nothing is lost', async (_name, policy) => {
  const { redis, raw, publish } = await startScenario()
  const calls: unknown[] = []
  const consumer = defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [on(OrderPaid, (event) => void calls.push(event))],
    use: [policy],
  })
  await poll(consumer, { redis })
  await publish('a', 'b')
  await raw.config('SET', 'maxmemory', '1')

  const error: unknown = await poll(consumer, { redis }).catch((thrown: unknown) => thrown)
  await raw.config('SET', 'maxmemory', '0')

  expect([calls.length, String((error as Error).message)]).toEqual([0, expect.stringContaining('OOM')])
  expect(await raw.xlen('{orders}:billing:dlq')).toBe(0)
})
