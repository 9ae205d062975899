import { Cluster } from 'ioredis'
import type { Connection } from 'millrace'
import { createPublisher, promoteDelays } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type PrivateCluster, STREAM_OF, slotMove, startCluster } from '../../support/cluster.ts'
import { OrderPaid } from '../../support/consumer.ts'

let cluster: PrivateCluster
beforeAll(async () => {
  cluster = await startCluster({ empty: 1 })
}, 30_000)
afterAll(() => cluster.stop())

const startup = () => cluster.nodes.slice(0, 3).map(({ server: { host, port } }) => ({ host, port }))
const CLIENTS = {
  'a URL': () => connectIoredis(cluster.url),
  'a factory': () => connectIoredis(() => new Cluster(startup())),
}

const due = { delayMs: 0 }

/** Orders in a stream, in order. */
async function ordersIn(stream: string): Promise<string[]> {
  const { raw } = await cluster.ownerOf(stream)
  const entries = (await raw.xrange(stream, '-', '+')) as [string, string[]][]
  return entries.map(([, fields]) => JSON.parse(fields[fields.indexOf('payload') + 1] as string).orderId)
}

/** Promotes until nothing is due. */
async function promoteAll(redis: Connection, stream: string): Promise<void> {
  for (let left = true; left; ) {
    const { nextDueAt = Infinity, nowMs, refusals } = await promoteDelays().promote({ redis, stream })
    if (refusals[0]) throw refusals[0]
    left = nextDueAt <= nowMs
  }
}

describe.each(Object.entries(CLIENTS))('delays on a cluster, %s', (name, connect) => {
  test.each(STREAM_OF)('are kept, cancelled and promoted on the node of stream %s', async (tag) => {
    const stream = `${tag}:${name}`
    const redis = connect()
    const publisher = createPublisher({ stream, redis })
    try {
      await publisher.publishMany([
        [OrderPaid, { orderId: 'now' }],
        [OrderPaid, { orderId: 'later' }, { eventId: 'later', delayMs: 60_000 }],
        [OrderPaid, { orderId: 'due' }, due],
      ])
      await promoteAll(redis, stream)

      expect(await ordersIn(stream)).toEqual(['now', 'due'])
      expect([await publisher.cancel('later'), await publisher.cancel('later')]).toEqual([
        'cancelled',
        'already-cancelled',
      ])
    } finally {
      await redis.close()
    }
  })

  test('survive the move of their hash slot, key by key: each event comes once', async () => {
    const stream = `moves-${name}`
    const keys = [`{${stream}}:delayed`, `{${stream}}:delayed:next`, `{${stream}}:delayed:events`]
    const { begin, move, finish } = slotMove(
      cluster,
      stream,
      await cluster.ownerOf(stream),
      cluster.nodes.at(-1) as never,
    )
    const redis = connect()
    const publisher = createPublisher({ stream, redis })
    const some = (from: number) =>
      publisher.publishMany(
        Array.from({ length: 150 }, (_, n) => [OrderPaid, { orderId: `${from + n}` }, due] as const),
      )
    try {
      await some(0)
      await promoteDelays().promote({ redis, stream })
      await begin()
      await move(keys[0] as string)
      const meanwhile = Promise.all([some(150), promoteAll(redis, stream)])
      await move(...keys.slice(1))
      await finish()
      await meanwhile
      await some(300)
      await promoteAll(redis, stream)

      const orders = (await ordersIn(stream)).map(Number).sort((a, b) => a - b)
      expect(orders).toEqual(Array.from({ length: 450 }, (_, n) => n))
    } finally {
      await redis.close()
    }
  })
})
