import { Cluster } from 'ioredis'
import { type Connection, type ConsumerOptions, createPublisher, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { inspectStreams } from 'millrace/operate'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { hashSlot } from '../../../src/core/keys.ts'
import { startRedisServer } from '../../../tools/redis-server.ts'
import { claimOnce } from '../../support/claim-once.ts'
import { type Node, type PrivateCluster, STREAM_OF, slotMove, startCluster } from '../../support/cluster.ts'
import { billing, OrderPaid } from '../../support/consumer.ts'

let cluster: PrivateCluster
beforeAll(async () => {
  cluster = await startCluster({ empty: 1 })
}, 30_000)
afterAll(() => cluster.stop())

const startup = () => cluster.nodes.slice(0, 3).map(({ server: { host, port } }) => ({ host, port }))
let streams = 0
const aStream = () => `orders-${streams++}`
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

const publish = (redis: Connection, stream: string, events = 3) =>
  createPublisher({ stream, redis }).publishMany(
    Array.from({ length: events }, (_each, n) => [OrderPaid, { orderId: `${n}` }] as const),
  )

const run = (redis: Connection, stream: string, options: Partial<ConsumerOptions> = {}) =>
  poll(
    billing(async () => {}, { stream, ...options }),
    { redis, remainingMs: 15_000 },
  )

test("keyPrefix with a hash tag works, with a URL and of a factory's Cluster", async () => {
  for (const mk of [
    () => connectIoredis(cluster.url, { keyPrefix: '{p}:' }),
    () => connectIoredis(() => new Cluster(startup(), { keyPrefix: '{p}:' })),
    () => connectIoredis(() => new Cluster(startup(), { redisOptions: { keyPrefix: '{p}:' } })),
  ]) {
    const redis = mk()
    const stream = aStream()
    await publish(redis, stream)
    expect(await run(redis, stream)).toMatchObject({ read: 3, acked: 3 })
    const owner = await cluster.ownerOf('p')
    expect(await owner.raw.exists(`{p}:${stream}`)).toBe(1)
    await redis.close()
  }
})

test("no option of a factory's Cluster changes what is published and handled", async () => {
  const stream = aStream()
  for (const o of [
    { enableOfflineQueue: false },
    { lazyConnect: true },
    { enableAutoPipelining: true },
    { slotsRefreshInterval: 50 },
    { maxRedirections: 0 },
    { retryDelayOnFailover: 1000 },
    { redisOptions: { protocol: 3 } },
    { redisOptions: { stringNumbers: true } },
    { redisOptions: { enableOfflineQueue: false } },
    { redisOptions: { lazyConnect: false } },
    { redisOptions: { commandTimeout: 2000 } },
    { natMap: (k: string) => ({ host: k.split(':')[0], port: Number(k.split(':')[1]) }) },
    { redisOptions: { maxRetriesPerRequest: null } },
    { shardedSubscribers: true },
  ]) {
    const redis = connectIoredis(() => new Cluster(startup(), o as never))
    await publish(redis, stream)
    expect(await run(redis, stream), JSON.stringify(o)).toMatchObject({ acked: 3 })
    await redis.close()
  }
  expect(() => connectIoredis(cluster.url, { scaleReads: 'slave' } as never)).toThrow(/scaleReads/)
}, 60_000)

test('sixty streams are published to and polled side by side', async () => {
  const redis = connectIoredis(cluster.url)
  const streams = Array.from({ length: 60 }, aStream)
  await Promise.all(streams.map((st) => publish(redis, st, 20)))
  const report = await poll(
    streams.map((stream) => billing(async () => {}, { stream })),
    { redis, remainingMs: 20_000 },
  )
  expect(report).toMatchObject({ read: 1200, acked: 1200 })
  await redis.close()
}, 40_000)

test('close() leaves no connection, also to a node that a slot is on its way to', async () => {
  const stream = aStream()
  const redis = connectIoredis(cluster.url)
  await publish(redis, stream)
  const from = await cluster.ownerOf(stream)
  const to = cluster.nodes.at(-1) as Node
  const m = slotMove(cluster, stream, from, to)
  await m.begin()
  await m.move(stream)
  await publish(redis, stream)
  const clients = async () =>
    String(await to.raw.client('LIST'))
      .split('\n')
      .filter((l) => l.includes('cmd=xadd')).length
  expect(await clients()).toBe(1)
  await redis.close()
  await vi.waitUntil(async () => (await clients()) === 0, { timeout: 3_000 })
  await m.finish()
})

test('a move of a slot that is called off costs no invocation', async () => {
  const stream = aStream()
  const redis = connectIoredis(cluster.url)
  await publish(redis, stream)
  const from = await cluster.ownerOf(stream)
  const target = cluster.nodes.find(
    (x) => x !== from && x !== cluster.nodes.at(-1) && cluster.nodes.indexOf(x) < 3,
  ) as Node
  const slot = hashSlot(stream)
  await target.raw.cluster('SETSLOT', slot, 'IMPORTING', from.id).catch(() => {})
  await from.raw.cluster('SETSLOT', slot, 'MIGRATING', target.id).catch(() => {})
  await publish(redis, stream)
  const polled = run(redis, stream)
  setTimeout(() => {
    void from.raw.cluster('SETSLOT', slot, 'STABLE').catch(() => {})
    void target.raw.cluster('SETSLOT', slot, 'STABLE').catch(() => {})
  }, 1500)
  expect(await polled).toMatchObject({ read: 6, acked: 6 })
  await redis.close()
}, 30_000)

test('a hash slot without a node fails in time, and only for its own streams', async () => {
  const redis = connectIoredis(cluster.url)
  const stream = aStream()
  await publish(redis, stream)
  const owner = await cluster.ownerOf(stream)
  for (const { raw } of cluster.nodes) await raw.config('SET', 'cluster-require-full-coverage', 'no')
  for (const { raw } of cluster.nodes) await raw.cluster('DELSLOTS', hashSlot(stream)).catch(() => {})
  const t0 = performance.now()
  await expect(publish(redis, stream)).rejects.toThrow(/CLUSTERDOWN|Hash slot not served|MOVED/)
  expect(performance.now() - t0).toBeLessThan(6_000)
  const other = STREAM_OF.find((x) => hashSlot(x) !== hashSlot(stream)) as string
  await publish(redis, other)
  await owner.raw.cluster('ADDSLOTS', hashSlot(stream))
  await vi.waitUntil(
    async () => {
      try {
        await publish(redis, stream)
        return true
      } catch {
        return false
      }
    },
    { timeout: 10_000 },
  )
  for (const { raw } of cluster.nodes) await raw.config('SET', 'cluster-require-full-coverage', 'yes')
  await redis.close()
}, 40_000)

test('a node that hangs does not hold an invocation beyond its time', async () => {
  const redis = connectIoredis(() => new Cluster(startup()))
  const stream = aStream()
  await publish(redis, stream)
  const owner = await cluster.ownerOf(stream)
  owner.server.kill('SIGSTOP')
  const t0 = performance.now()
  try {
    await expect(
      poll(
        billing(async () => {}, { stream, handlerTimeoutMs: 500, reserveMs: 200, minIdleMs: 10_000 } as never),
        { redis, remainingMs: 2_000 },
      ),
    ).rejects.toThrow()
    expect(performance.now() - t0).toBeLessThan(2_100)
  } finally {
    owner.server.kill('SIGCONT')
  }
  await cluster.whole()
  await redis.close()
}, 30_000)

test('a URL whose first node is gone finds the others', async () => {
  const stream = aStream()
  const hosts = cluster.nodes
    .slice(0, 3)
    .map((x) => `127.0.0.1:${x.server.port}`)
    .join(',')
  const redis = connectIoredis(`redis://127.0.0.1:1,${hosts}?cluster`)
  await publish(redis, stream)
  expect(await run(redis, stream)).toMatchObject({ acked: 3 })
  await redis.close()
})

test('a cluster of which nobody answers is an error at once', async () => {
  const redis = connectIoredis('redis://127.0.0.1:1,127.0.0.1:2?cluster')
  const t0 = performance.now()
  await expect(publish(redis, 's')).rejects.toThrow(/ECONNREFUSED/)
  expect(performance.now() - t0).toBeLessThan(3_000)
  await redis.close()
})

test('?cluster of a server that is none is an error that says so', async () => {
  const server = await startRedisServer()
  const redis = connectIoredis(`${server.url}?cluster`)
  await expect(publish(redis, 's')).rejects.toThrow(/cluster/i)
  await redis.close()
  await server.stop()
})

test('inspectStreams needs no right to INFO', async () => {
  for (const { raw } of cluster.nodes)
    await raw.call('ACL', 'SETUSER', 'looks', 'on', '>p', '~*', '-@all', '+scan', '+xinfo', '+cluster|slots')
  const publisher = connectIoredis(cluster.url)
  for (const stream of STREAM_OF) await publish(publisher, stream)
  await publisher.close()
  const redis = connectIoredis(cluster.url.replace('://', '://looks:p@'))
  const { streams } = await inspectStreams({ redis })
  for (const st of STREAM_OF) expect(streams.map((x) => x.stream)).toContain(st)
  await redis.close()
})

test('inspectStreams says in time that a node hangs', async () => {
  const redis = connectIoredis(cluster.url, { commandTimeout: 1_500 })
  for (const stream of STREAM_OF) await publish(redis, stream)
  const down = await cluster.ownerOf(STREAM_OF[1] as string)
  down.server.kill('SIGSTOP')
  try {
    const t0 = performance.now()
    await expect(inspectStreams({ redis, streams: [...STREAM_OF] })).rejects.toThrow(/Cannot reach Redis/)
    expect(performance.now() - t0).toBeLessThan(4_000)
  } finally {
    down.server.kill('SIGCONT')
  }
  await cluster.whole()
  await redis.close()
}, 30_000)

test('a dead-letter stream in another slot is refused, and nothing lost', async () => {
  const redis = connectIoredis(cluster.url)
  const stream = aStream()
  await publish(redis, stream)
  let message = ''
  try {
    await poll(
      billing(
        async () => {
          throw new Error('x')
        },
        { stream, maxDeliveries: 1, deadLetters: { stream: 'elsewhere' } } as never,
      ),
      { redis, remainingMs: 8_000 },
    )
  } catch (e) {
    message = (e as Error).message
  }
  expect(message).toMatch(/slot/i)
  await redis.close()
})

test('a claimer waits for a slot that moves', async () => {
  const redis = connectIoredis(cluster.url)
  const stream = aStream()
  await publish(redis, stream, 10)
  const owner = await cluster.ownerOf(stream)
  await owner.raw.xgroup('CREATE', stream, 'billing', '0')
  await owner.raw.xreadgroup('GROUP', 'billing', 'poller-0', 'COUNT', 10, 'STREAMS', stream, '>')
  await pause(300)
  const to = cluster.nodes.at(-1) as Node
  const m = slotMove(cluster, stream, owner, to)
  await m.begin()
  await m.move(stream)
  const claimed = claimOnce(
    billing(async () => {}, { stream, minIdleMs: 200, handlerTimeoutMs: 1000, allowLongHandlers: true } as never),
    { redis, remainingMs: 15_000 },
  )
  await pause(1_000)
  await m.finish()
  expect(await claimed).toMatchObject({ acked: 10 })
  await redis.close()
}, 30_000)
