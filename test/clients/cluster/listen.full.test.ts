import { setTimeout as delay } from 'node:timers/promises'
import { Cluster } from 'ioredis'
import { Cluster as Cluster5 } from 'ioredis5'
import type { Connection, Publisher } from 'millrace'
import { createPublisher, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { failOver, type PrivateCluster, STREAM_OF, slotMove, startCluster } from '../../support/cluster.ts'
import { billing, OrderPaid } from '../../support/consumer.ts'

// what a test breaks is no other's
let cluster: PrivateCluster
beforeEach(async () => {
  cluster = await startCluster({ empty: 1 })
}, 30_000)
afterEach(() => cluster.stop())

const startup = () => cluster.nodes.slice(0, 3).map(({ server: { host, port } }) => ({ host, port }))
const CLIENTS: Readonly<Record<string, () => Connection>> = {
  'a URL': () => connectIoredis(cluster.url),
  'ioredis 6': () => connectIoredis(() => new Cluster(startup()) as never),
  'ioredis 5': () => connectIoredis(() => new Cluster5(startup()) as never),
}
const QUICK = { handlerTimeoutMs: 500, reserveMs: 100, minIdleMs: 10_000, mode: 'listen' } as const

/** A poller that listens to a stream on each of the three masters, and who publishes there. */
function listening(redis: Connection) {
  const seen: string[] = []
  const handler = (event: never) => void seen.push((event as { payload: { orderId: string } }).payload.orderId)
  const consumers = STREAM_OF.map((stream) => billing(handler, { ...QUICK, stream }))
  const publishers = STREAM_OF.map((stream) => createPublisher({ stream, redis }))
  const stop = new AbortController()
  const polling = poll(consumers, { redis, remainingMs: 60_000, signal: stop.signal })
  polling.catch(() => {})
  onTestFinished(async () => {
    stop.abort()
    await polling.catch(() => {})
    await redis.close()
  })
  const end = () => {
    stop.abort()
    return polling
  }
  return { seen, publishers, end }
}

/** Publishes and waits until it is handled. */
async function handled(seen: readonly string[], publisher: Publisher | undefined, orderId: string, withinMs = 2_000) {
  await publisher?.publish(OrderPaid, { orderId }).catch(() => publisher.publish(OrderPaid, { orderId }))
  await vi.waitUntil(() => seen.includes(orderId), { timeout: withinMs, interval: 10 })
}

describe.each(Object.entries(CLIENTS))('mode listen over a cluster, %s', (_name, connect) => {
  test('serves streams on every master, each on a connection of its own', async () => {
    const { seen, publishers, end } = listening(connect())
    for (const [n, publisher] of publishers.entries()) await handled(seen, publisher, `a${n}`, 5_000)
    for (const [n, publisher] of publishers.entries()) await handled(seen, publisher, `b${n}`, 500)

    expect((await end()).consumers.map(({ acked }) => acked)).toEqual([2, 2, 2])
  })

  test('listens again after a failover of one master, and meanwhile to the others', async () => {
    const { seen, publishers, end } = listening(connect())
    for (const [n, publisher] of publishers.entries()) await handled(seen, publisher, `a${n}`, 5_000)
    await failOver(cluster, STREAM_OF[0] as string, cluster.ownerOf)
    for (const [n, publisher] of publishers.entries()) await handled(seen, publisher, `b${n}`, 3_000)

    expect((await end()).acked).toBe(6)
  })

  test('follows a hash slot on its way', async () => {
    const { seen, publishers, end } = listening(connect())
    const stream = STREAM_OF[0] as string
    await handled(seen, publishers[0], 'a', 5_000)
    const { begin, move, finish } = slotMove(
      cluster,
      stream,
      await cluster.ownerOf(stream),
      cluster.nodes.at(-1) as never,
    )
    await begin()
    await handled(seen, publishers[0], 'b', 4_000)
    await move(stream)
    await delay(500)
    await finish()
    await handled(seen, publishers[0], 'c', 4_000)

    expect((await end()).acked).toBe(3)
  })
})
