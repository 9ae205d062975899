import { Cluster } from 'ioredis'
import { Cluster as Cluster5 } from 'ioredis5'
import { type Connection, createPublisher, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { inspectStreams } from 'millrace/operate'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { hashSlot } from '../../../src/core/keys.ts'
import { type PrivateCluster, startCluster } from '../../support/cluster.ts'
import { billing, OrderPaid } from '../../support/consumer.ts'

/** In the middle of the hash slots: of the second master, which is never the first that is asked. */
const STREAM = Array.from({ length: 100_000 }, (_each, n) => `orders-${n}`).find(
  (name) => hashSlot(name) === 8_192,
) as string
const OTHER = Array.from({ length: 100 }, (_each, n) => `shop-${n}`).find((name) => hashSlot(name) > 12_000) as string

let cluster: PrivateCluster
beforeAll(async () => {
  cluster = await startCluster({
    args: ['--cluster-require-full-coverage', 'no', '--cluster-replica-no-failover', 'yes'],
  })
}, 30_000)
afterAll(() => cluster.stop())

const startup = () => cluster.nodes.slice(0, 3).map(({ server: { host, port } }) => ({ host, port }))
const CLIENTS: Readonly<Record<string, (redisOptions?: object) => Connection>> = {
  'a URL': () => connectIoredis(cluster.url),
  'ioredis 6': (redisOptions = {}) => connectIoredis(() => new Cluster(startup(), { redisOptions })),
  'ioredis 5': (redisOptions = {}) => connectIoredis(() => new Cluster5(startup(), { redisOptions }) as never),
}

const publish = (redis: Connection, stream: string, count = 1) =>
  createPublisher({ stream, redis }).publishMany(
    Array.from({ length: count }, (_each, n) => [OrderPaid, { orderId: `${n}` }] as const),
  )

describe.each(Object.entries(CLIENTS))('what was never sent, over %s,', (_name, connect) => {
  const setting = () => {
    const redis = connect()
    onTestFinished(() => redis.close())
    return redis
  }

  test.each(['before', 'after'])(
    'is an error where the node was gone %s the connection was made',
    async (when) => {
      const redis = setting()
      const middle = await cluster.ownerOf(STREAM)
      if (when === 'after') await publish(redis, STREAM)
      middle.server.kill('SIGKILL')
      await vi.waitUntil(() => middle.server.process.signalCode !== null)
      try {
        await expect(publish(redis, STREAM, 3)).rejects.toThrow(/Cannot reach Redis|CLUSTERDOWN/)
        const polled = poll(
          billing(async () => {}, { stream: STREAM }),
          { redis, remainingMs: 15_000 },
        )
        await expect(polled).rejects.toMatchObject({ report: { read: 0, acked: 0 } })
        expect(await publish(redis, OTHER)).toHaveLength(1)
      } finally {
        await middle.server.restart()
        await cluster.whole()
      }
      await vi.waitFor(async () => expect(await publish(redis, STREAM)).toHaveLength(1), { timeout: 10_000 })
    },
    40_000,
  )

  test('is an error where no node has the hash slot, and the next one finds it', async () => {
    const redis = setting()
    await publish(redis, STREAM)
    const middle = await cluster.ownerOf(STREAM)
    const slot = hashSlot(STREAM)
    await middle.raw.del(STREAM)
    for (const { raw } of cluster.nodes) await raw.cluster('DELSLOTS', slot).catch(() => {})
    await expect(publish(redis, STREAM, 3)).rejects.toThrow(/CLUSTERDOWN/)
    await middle.raw.cluster('ADDSLOTS', slot)
    await vi.waitFor(async () => expect(await publish(redis, STREAM, 3)).toHaveLength(3), { timeout: 10_000 })
    expect(await middle.raw.xlen(STREAM)).toBe(3)
  }, 30_000)
})

/** A Cluster that has lost its last node, between two commands. */
function withoutNodes() {
  const nodes = { status: 'ready', isCluster: true, options: {}, slots: [], nodes: () => [] }
  const on = () => {}
  const refreshSlotsCache = (done: () => void) => done()
  return { ...nodes, on, refreshSlotsCache, disconnect: on, removeListener: on, pipeline: () => ({}) }
}

test('a cluster without any node fails every command, and gets a new client', async () => {
  const made: object[] = []
  const redis = connectIoredis(() => {
    const client = made.length === 0 ? withoutNodes() : new Cluster(startup())
    made.push(client)
    return client as never
  })
  onTestFinished(() => redis.close())
  await expect(publish(redis, STREAM, 3)).rejects.toMatchObject({
    message: expect.stringContaining('Cannot reach Redis'),
  })
  expect(await publish(redis, STREAM, 3)).toHaveLength(3)
  expect(made).toHaveLength(2)
})

test.each([
  ['ioredis 6', (redisOptions: object) => new Cluster(startup(), { redisOptions } as never)],
  ['ioredis 5', (redisOptions: object) => new Cluster5(startup(), { redisOptions } as never)],
])('numbers that a Cluster of %s gives as text are numbers: stringNumbers in redisOptions', async (_name, make) => {
  const counts = async (redisOptions: object) => {
    const redis = connectIoredis(() => make(redisOptions) as never)
    await (await cluster.ownerOf(STREAM)).raw.del(STREAM)
    await publish(redis, STREAM, 12)
    const consumer = billing(
      async ({ payload }: never) => {
        if ((payload as { orderId: string }).orderId > '5') throw new Error('again')
      },
      { stream: STREAM, mode: 'once', minIdleMs: 60_000 },
    )
    const { read, acked, retried } = await poll(consumer, { redis, remainingMs: 15_000 })
    const { streams } = await inspectStreams({ redis, streams: [STREAM] })
    await redis.close()
    const { length, groups } = streams[0] as never as { length: unknown; groups: { pending: unknown; lag: unknown }[] }
    return { read, acked, retried, length, pending: groups[0]?.pending, lag: groups[0]?.lag }
  }
  const plain = await counts({})
  expect(plain).toMatchObject({ read: 12, acked: 8, retried: 4, length: 12 })
  expect(await counts({ stringNumbers: true })).toEqual(plain)
})

test.each([
  ['ioredis 6', (redisOptions: object) => new Cluster(startup(), { redisOptions } as never)],
  ['ioredis 5', (redisOptions: object) => new Cluster5(startup(), { redisOptions } as never)],
])(
  'a Cluster of %s hangs up on a silent node after two seconds, or its socketTimeout',
  async (_name, make) => {
    const middle = await cluster.ownerOf(STREAM)
    const [given, own] = [make({}), make({ socketTimeout: 60_000 })]
    const [redis, patient] = [given, own].map((client) => connectIoredis(() => client as never)) as [
      Connection,
      Connection,
    ]
    await Promise.all([publish(redis, STREAM), publish(patient, STREAM)])
    expect(new Set(own.nodes().map(({ options }) => options.socketTimeout))).toEqual(new Set([60_000]))
    middle.server.kill('SIGSTOP')
    try {
      const waits = publish(patient, STREAM).then(
        () => 'published',
        () => 'failed',
      )
      await expect(publish(redis, STREAM)).rejects.toThrow(/Expecting data/)
      expect(await Promise.race([waits, Promise.resolve('waits')])).toBe('waits')
      middle.server.kill('SIGCONT')
      expect(await waits).toBe('published')
    } finally {
      middle.server.kill('SIGCONT')
      await Promise.all([redis.close(), patient.close()])
      await cluster.whole()
    }
  },
  30_000,
)
