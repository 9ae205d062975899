import { Cluster } from 'ioredis'
import { Cluster as Cluster5 } from 'ioredis5'
import { type Connection, createPublisher, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { failOver, type PrivateCluster, startCluster } from '../../support/cluster.ts'
import { billing, OrderPaid } from '../../support/consumer.ts'

// what a test breaks is no other's
let cluster: PrivateCluster
beforeEach(async () => {
  cluster = await startCluster()
}, 30_000)
afterEach(() => cluster.stop())

const startup = () => cluster.nodes.slice(0, 3).map(({ server: { host, port } }) => ({ host, port }))
let streams = 0
const aStream = () => `orders-${streams++}`

const publish = (redis: Connection, stream: string) =>
  createPublisher({ stream, redis }).publishMany(
    Array.from({ length: 3 }, (_each, n) => [OrderPaid, { orderId: `${n}` }] as const),
  )

const run = (redis: Connection, stream: string) =>
  poll(
    billing(async () => {}, { stream }),
    { redis, remainingMs: 15_000 },
  )

test('after a failover while idle no invocation fails', async () => {
  for (const mk of [
    () => connectIoredis(cluster.url),
    () => connectIoredis(() => new Cluster(startup())),
    () => connectIoredis(() => new Cluster5(startup()) as never),
  ]) {
    const redis = mk()
    const stream = aStream()
    await publish(redis, stream)
    await run(redis, stream)
    await failOver(cluster, stream, cluster.ownerOf)
    await publish(redis, stream)
    expect(await run(redis, stream)).toMatchObject({ read: 3 })
    await redis.close()
  }
}, 60_000)

test('after a master was killed and replaced while idle at most one call fails', async () => {
  for (const mk of [() => connectIoredis(cluster.url), () => connectIoredis(() => new Cluster(startup()))]) {
    const redis = mk()
    const stream = aStream()
    await publish(redis, stream)
    await run(redis, stream)
    const dead = await cluster.ownerOf(stream)
    dead.server.kill('SIGKILL')
    await vi.waitUntil(
      async () => {
        try {
          return (await cluster.ownerOf(stream)) !== dead
        } catch {
          return false
        }
      },
      { timeout: 15_000 },
    )
    // one call may meet what is left of the old connection
    await publish(redis, stream).catch(() => publish(redis, stream))
    const { read } = await run(redis, stream).catch(() => run(redis, stream))
    expect(read).toBeGreaterThanOrEqual(3)
    await dead.server.restart()
    await cluster.whole()
    await redis.close()
  }
}, 60_000)
