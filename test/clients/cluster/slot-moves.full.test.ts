import { Cluster } from 'ioredis'
import { Cluster as Cluster5 } from 'ioredis5'
import { createPublisher, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hashSlot } from '../../../src/core/keys.ts'
import { claimOnce } from '../../support/claim-once.ts'
import { type PrivateCluster, slotMove, startCluster } from '../../support/cluster.ts'
import { billing, OrderPaid } from '../../support/consumer.ts'

let cluster: PrivateCluster
beforeAll(async () => {
  cluster = await startCluster({ empty: 1 })
}, 30_000)
afterAll(() => cluster.stop())

const startup = () => cluster.nodes.slice(0, 3).map(({ server: { host, port } }) => ({ host, port }))
const CLIENTS = {
  'a URL': () => connectIoredis(cluster.url),
  'ioredis 6': () => connectIoredis(() => new Cluster(startup())),
  'ioredis 5': () => connectIoredis(() => new Cluster5(startup())),
}

let streams = 0
/** A stream of its own, a move of its slot to a node that has none, and the names of what is beside it. */
async function setting() {
  const stream = `orders-${streams++}`
  const [from, to] = [await cluster.ownerOf(stream), cluster.nodes.at(-1) as never]
  return { stream, ...slotMove(cluster, stream, from, to), from }
}

const orderIds = (n: number) => Array.from({ length: n }, (_each, at) => [OrderPaid, { orderId: `${at}` }] as const)

describe.each(Object.entries(CLIENTS))('%s', (_name, connect) => {
  test('publishMany keeps the order of events while their stream moves', async () => {
    const { stream, begin, move, finish } = await setting()
    const redis = connect()
    const publisher = createPublisher({ stream, redis })
    try {
      await publisher.publishMany(orderIds(10))
      await begin()
      await publisher.publishMany(orderIds(10))
      await move(stream)
      await publisher.publishMany(orderIds(10))
      await finish()
      await publisher.publishMany(orderIds(10))
      const owner = await cluster.ownerOf(stream)
      const entries = (await owner.raw.xrange(stream, '-', '+')) as [string, string[]][]
      const ids = entries.map(([, fields]) => JSON.parse(fields[fields.indexOf('payload') + 1] as string).orderId)
      expect(ids).toEqual(Array.from({ length: 40 }, (_each, at) => `${at % 10}`))
    } finally {
      await redis.close()
    }
  })

  test('a stream alone on its way costs no delivery: what is read is handled once', async () => {
    const { stream, begin, move, finish, from } = await setting()
    const redis = connect()
    const handled: string[] = []
    const consumer = billing(
      async ({ payload }: never) => {
        handled.push((payload as { orderId: string }).orderId)
        if (handled.length === 1) await begin()
        // the lease goes first, so that it is elsewhere than the stream
        if (handled.length === 2) await move(`{${stream}}:billing:slot:poller-0`)
        if (handled.length === 3) await move(stream)
        if (handled.length === 5) await finish()
      },
      { stream, maxDeliveries: 1, batchSize: 1, concurrency: 1 },
    )
    try {
      await createPublisher({ stream, redis }).publishMany(orderIds(8))
      const report = await poll(consumer, { redis, remainingMs: 20_000 })
      expect(handled).toEqual(orderIds(8).map(([, { orderId }]) => orderId))
      expect(report).toMatchObject({ read: 8, acked: 8, retried: 0, unsettled: 0 })
      expect(await claimOnce(consumer, { redis, remainingMs: 20_000 })).toMatchObject({ deadLettered: 0 })
      expect(await from.raw.call('CLUSTER', 'COUNTKEYSINSLOT', hashSlot(stream))).toBe(0)
    } finally {
      await redis.close()
    }
  })

  test('a run that begins while half of its keys are moved waits until they are together', async () => {
    const { stream, begin, move, finish } = await setting()
    const redis = connect()
    const handled: string[] = []
    const consumer = billing(
      async ({ payload }: never) => void handled.push((payload as { orderId: string }).orderId),
      { stream, maxDeliveries: 1 },
    )
    try {
      await createPublisher({ stream, redis }).publishMany(orderIds(8))
      await begin()
      await move(stream)
      const polled = poll(consumer, { redis, remainingMs: 20_000 })
      const finished = new Promise((resolve) => setTimeout(resolve, 3_000)).then(finish)
      expect(await polled).toMatchObject({ read: 8, acked: 8 })
      await finished
      expect(handled).toHaveLength(8)
    } finally {
      await redis.close()
    }
  }, 30_000)
})
