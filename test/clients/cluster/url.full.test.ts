import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createPublisher, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { type PrivateCluster, STREAM_OF, startCluster } from '../../support/cluster.ts'
import { billing, OrderPaid } from '../../support/consumer.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'

let cluster: PrivateCluster
beforeAll(async () => {
  cluster = await startCluster()
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

test('the first MOVED ends nothing that is asked beside it on the connection that stood', async () => {
  const [first, second, third] = STREAM_OF as [string, string, string]
  const owner = await cluster.ownerOf(first)
  const proxy = await startFaultProxy(owner.server)
  const redis = connectIoredis(proxy.url)
  const publish = (stream: string) => createPublisher({ stream, redis }).publish(OrderPaid, { orderId: stream })
  try {
    await publish(first)
    const paused = proxy.pauseOn(third)
    // the first is still on its way when the other is written
    proxy.latencyMs = 100
    const moved = publish(second)
    await vi.waitUntil(() => proxy.requests === 2, { interval: 1 })
    const beside = publish(third)
    const { release } = await paused
    await moved
    release()
    expect(await beside).toMatchObject({ eventId: expect.any(String) })
  } finally {
    await redis.close()
    await proxy.close()
  }
})

test('a cluster has only database 0', () => {
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

test('over TLS nodes are connected to by the name in their certificate, which the cluster announces', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-tls-'))
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  const made = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1']
  const name = ['-subj', '/CN=orders', '-addext', 'subjectAltName=DNS:localhost']
  await promisify(execFile)('openssl', [...made, '-keyout', key, '-out', cert, ...name])
  const named = await startCluster({ hostname: 'localhost', tls: { cert, key } })
  const options = { tls: { ca: await readFile(cert) } }
  const byUrl = connectIoredis(`${named.plainUrl}?cluster`, options)
  const detected = connectIoredis(named.plainUrl, options)
  try {
    for (const redis of [byUrl, detected])
      for (const stream of STREAM_OF) await createPublisher({ stream, redis }).publish(OrderPaid, { orderId: stream })
    const untrusted = connectIoredis(`${named.plainUrl}?cluster`)
    const refused = createPublisher({ stream: 'orders', redis: untrusted }).publish(OrderPaid, { orderId: 'o' })
    await expect(refused).rejects.toThrow(/certificate/)
    await untrusted.close()
  } finally {
    await byUrl.close()
    await detected.close()
    await named.stop()
    await rm(folder, { recursive: true })
  }
}, 40_000)
