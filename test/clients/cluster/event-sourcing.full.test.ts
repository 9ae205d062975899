import { createPublisher, readEvents, VersionConflictError } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { failOver, type PrivateCluster, STREAM_OF, slotMove, startCluster } from '../../support/cluster.ts'
import { OrderPaid } from '../../support/consumer.ts'
import { names } from '../../support/scenario.ts'

let cluster: PrivateCluster
beforeAll(async () => {
  cluster = await startCluster({ empty: 1 })
}, 30_000)
afterAll(() => cluster.stop())

/** Publishes until the event is there, whatever others do: by the version that a conflict has. */
async function publishAtAny(
  publisher: ReturnType<typeof createPublisher>,
  eventId: string,
  aggregateId: string,
): Promise<void> {
  for (let expectedVersion = 0; ; ) {
    try {
      await publisher.publish(OrderPaid, { orderId: eventId }, { eventId, aggregateId, expectedVersion })
      return
    } catch (error) {
      if (!(error instanceof VersionConflictError)) throw error
      expectedVersion = error.actualVersion
    }
  }
}

async function readAll(redis: ReturnType<typeof connectIoredis>, stream: string, aggregateId: string) {
  const found: { version: number; eventId: string }[] = []
  for await (const { aggregateVersion: version, eventId } of readEvents(stream, {
    redis,
    events: [OrderPaid],
    aggregateId,
  }))
    found.push({ version, eventId })
  return found
}

test.each(STREAM_OF)('aggregates of stream %s have one history each', async (stream) => {
  const redis = connectIoredis(cluster.url)
  const publisher = createPublisher({ stream, redis })
  try {
    const ids = names('e', 30)
    await Promise.all(ids.map((id, n) => publishAtAny(publisher, id, `a-${n % 3}`)))
    await publisher.publishMany(
      [0, 1, 2].map((n) => [OrderPaid, { orderId: 'o' }, { aggregateId: `a-${n}`, expectedVersion: 10 }] as const),
    )

    for (const n of [0, 1, 2]) {
      const found = await readAll(redis, stream, `a-${n}`)
      expect(found.map(({ version }) => version)).toEqual(Array.from({ length: 11 }, (_, at) => at + 1))
      expect(
        found
          .slice(0, 10)
          .map(({ eventId }) => eventId)
          .toSorted(),
      ).toEqual(ids.filter((_, at) => at % 3 === n).toSorted())
    }
  } finally {
    await redis.close()
  }
})

test('a history goes on while its hash slot moves, and its master fails over', async () => {
  const stream = 'moves'
  const owner = await cluster.ownerOf(stream)
  const { begin, move, finish } = slotMove(cluster, stream, owner, cluster.nodes.at(-1) as never)
  const redis = connectIoredis(cluster.url)
  const publisher = createPublisher({ stream, redis })
  try {
    const ids = names('e', 100)
    await Promise.all(ids.slice(0, 40).map((id) => publishAtAny(publisher, id, 'a')))
    await begin()
    await move('{moves}::aggregate:::a')
    const meanwhile = Promise.all(ids.slice(40).map((id) => publishAtAny(publisher, id, 'a')))
    await move(stream)
    await finish()
    await meanwhile

    const found = await readAll(redis, stream, 'a')
    expect(found.map(({ version }) => version)).toEqual(ids.map((_, n) => n + 1))
    expect(found.map(({ eventId }) => eventId).toSorted()).toEqual(ids.toSorted())
    const other = STREAM_OF[0] as string
    const elsewhere = createPublisher({ stream: other, redis })
    await failOver(cluster, other, cluster.ownerOf)
    await publishAtAny(elsewhere, 'after', 'b')
    expect(await readAll(redis, other, 'b')).toEqual([{ version: 1, eventId: 'after' }])
  } finally {
    await redis.close()
  }
}, 60_000)
