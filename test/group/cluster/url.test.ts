import { createPublisher, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { type PrivateCluster, STREAM_OF, startNodes } from '../../support/cluster.ts'
import { billing, OrderPaid } from '../../support/consumer.ts'

let cluster: PrivateCluster
beforeAll(async () => {
  cluster = await startNodes()
}, 30_000)
afterAll(() => cluster.stop())

const urls = {
  'a URL of all nodes': () => cluster.url,
  'a URL of one node': () => `${cluster.plainUrl}?cluster`,
  'a URL that does not say so': () => cluster.plainUrl,
}

test.each(Object.entries(urls))('%s is enough to publish to and poll streams of every node', async (_name, url) => {
  const redis = connectIoredis(url())
  const seen: string[] = []
  const consumers = STREAM_OF.map((stream) =>
    billing(async ({ payload }: never) => void seen.push((payload as { orderId: string }).orderId), { stream }),
  )
  try {
    for (const stream of STREAM_OF) await createPublisher({ stream, redis }).publish(OrderPaid, { orderId: stream })
    const report = await poll(consumers, { redis, remainingMs: 20_000 })
    expect(report).toMatchObject({ read: 3, acked: 3 })
    expect(seen.toSorted()).toEqual(STREAM_OF.toSorted())
  } finally {
    await redis.close()
  }
})

test('that a server is a cluster is said once', async () => {
  const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  const redis = connectIoredis(cluster.plainUrl)
  for (const stream of STREAM_OF) await createPublisher({ stream, redis }).publish(OrderPaid, { orderId: stream })
  await redis.close()
  expect(warned.mock.calls.map(([text]) => text)).toEqual([expect.stringContaining('?cluster')])
  warned.mockRestore()
})

test('a cluster has database 0 alone', () => {
  expect(() => connectIoredis('redis://127.0.0.1:1/1?cluster')).toThrow('database 0')
  expect(() => connectIoredis('redis://127.0.0.1:1?cluster', { db: 1 })).toThrow('database 0')
})

test('replicas are asked where hash slots are, and never to read', async () => {
  const redis = connectIoredis(cluster.url)
  for (const stream of STREAM_OF)
    await poll(
      billing(async () => {}, { stream }),
      { redis, remainingMs: 20_000 },
    )
  await redis.close()
  for (const { raw } of cluster.nodes.slice(3))
    expect(await raw.info('commandstats')).not.toMatch(/cmdstat_(xreadgroup|eval|evalsha|get|xrange)\b/)
})

test('a name that the cluster announces is the one that is connected to', async () => {
  const named = await startNodes({ hostname: 'localhost' })
  const redis = connectIoredis(named.plainUrl.replace('127.0.0.1', 'localhost'))
  try {
    for (const stream of STREAM_OF) await createPublisher({ stream, redis }).publish(OrderPaid, { orderId: stream })
  } finally {
    await redis.close()
    await named.stop()
  }
}, 30_000)
