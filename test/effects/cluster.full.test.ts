import { Redis } from 'ioredis'
import type { HandlerContext } from 'millrace'
import { createPublisher, effects, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { billing, OrderPaid } from '../support/consumer.ts'
import { startOneNodeCluster } from '../support/one-node-cluster.ts'
import { Booked, ledgerOf } from './asking.ts'

test.each(['orders', '{shop}:orders'])('effects take place on a cluster, for stream %s', async (stream) => {
  const server = await startOneNodeCluster()
  const client = new Redis(server.url)
  const redis = connectIoredis(`${server.url}?cluster`)
  onTestFinished(async () => {
    await redis.close()
    client.disconnect()
    await server.stop()
  })
  await createPublisher({ stream, redis }).publish(OrderPaid, { orderId: 'o-1' })
  const consumer = billing(
    ((_event: unknown, context: HandlerContext) => {
      const e = effects(context)
      const ledger = ledgerOf(redis, { stream: e.key('ledger') })
      e.publish(ledger, Booked, { orderId: 'o-1' }).increment(e.key('booked'))
    }) as never,
    { stream },
  )

  const { acked } = await poll(consumer, { redis })

  const prefix = stream === 'orders' ? '{orders}' : stream
  expect(acked).toBe(1)
  expect([await client.get(`${prefix}:booked`), await client.xlen(`${prefix}:ledger`)]).toEqual(['1', 1])
})
