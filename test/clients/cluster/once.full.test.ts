import { Cluster } from 'ioredis'
import { createPublisher } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type PrivateCluster, STREAM_OF, slotMove, startCluster } from '../../support/cluster.ts'
import { OrderPaid } from '../../support/consumer.ts'
import { names } from '../../support/scenario.ts'

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

const many = (ids: readonly string[]) =>
  ids.map((eventId) => [OrderPaid, { orderId: eventId }, { eventId, deduplicateMs: 3_600_000 }] as const)

/** Ids of events in a stream, in order. */
async function idsIn(stream: string): Promise<string[]> {
  const { raw } = await cluster.ownerOf(stream)
  const entries = (await raw.xrange(stream, '-', '+')) as [string, string[]][]
  return entries.map(([, fields]) => fields[fields.indexOf('eventId') + 1] as string)
}

describe.each(Object.entries(CLIENTS))('promise 21: on a cluster, %s', (name, connect) => {
  test.each(STREAM_OF)('ids are added once, in order, to stream %s', async (tag) => {
    const stream = `${tag}:${name}`
    const redis = connect()
    const publisher = createPublisher({ stream, redis })
    try {
      const first = await publisher.publishMany(many(['a', 'b', 'a']))
      const again = await publisher.publishMany(many(['c', 'b']))

      expect([...first, ...again].map(({ duplicate }) => duplicate)).toEqual([
        undefined,
        undefined,
        true,
        undefined,
        true,
      ])
      expect(await idsIn(stream)).toEqual(['a', 'b', 'c'])
    } finally {
      await redis.close()
    }
  })

  test('ids are added once while their hash slot moves, key by key', async () => {
    const stream = `moves-${name}`
    const ids = names('e', 200)
    const marker = (id: string) => `{${stream}}::published::${id}`
    const owner = await cluster.ownerOf(stream)
    const { begin, move, finish } = slotMove(cluster, stream, owner, cluster.nodes.at(-1) as never)
    const redis = connect()
    const publisher = createPublisher({ stream, redis })
    try {
      await publisher.publishMany(many(ids.slice(0, 100)))
      await begin()
      await move(...ids.slice(0, 50).map(marker))
      const meanwhile = Promise.all(ids.map((id) => publisher.publishMany(many([id]))))
      await move(stream, ...ids.slice(50, 100).map(marker))
      await finish()
      await meanwhile
      await publisher.publishMany(many(ids))

      expect((await idsIn(stream)).sort()).toEqual(ids.toSorted())
    } finally {
      await redis.close()
    }
  })

  test('events with and without a window come in order while their hash slot moves', async () => {
    const stream = `mixed-${name}`
    const redis = connect()
    const publisher = createPublisher({ stream, redis })
    try {
      await publisher.publishMany(many(['first']))
      const owner = await cluster.ownerOf(stream)
      const { begin, finish } = slotMove(cluster, stream, owner, cluster.nodes.at(-1) as never)
      await begin()
      const ids = names('e', 20)
      const mixed = ids.map(
        (eventId, n) =>
          [OrderPaid, { orderId: eventId }, n % 2 ? { eventId, deduplicateMs: 60_000 } : { eventId }] as const,
      )
      const publishing = publisher.publishMany(mixed)
      setTimeout(() => void finish(), 200)

      expect(await publishing).toHaveLength(20)
      expect(await idsIn(stream)).toEqual(['first', ...ids])
    } finally {
      await redis.close()
    }
  })
})
