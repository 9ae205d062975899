import { createPublisher } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { diagnose, inspectStreams } from 'millrace/operate'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { millrace } from '../../cli/millrace.ts'
import { type PrivateCluster, STREAM_OF, startCluster } from '../../support/cluster.ts'
import { OrderPaid } from '../../support/consumer.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'

const [FIRST, GONE, THIRD] = STREAM_OF as [string, string, string]

let cluster: PrivateCluster
beforeAll(async () => {
  cluster = await startCluster({
    args: ['--cluster-require-full-coverage', 'no', '--cluster-replica-no-failover', 'yes'],
  })
  const redis = connectIoredis(cluster.url)
  for (const stream of STREAM_OF) await createPublisher({ stream, redis }).publish(OrderPaid, { orderId: 'o' })
  await redis.close()
  const { server } = await cluster.ownerOf(GONE)
  server.kill('SIGKILL')
  await vi.waitUntil(() => server.process.signalCode !== null)
}, 30_000)
afterAll(() => cluster.stop())

const urls = {
  'a URL of all nodes': () => cluster.url,
  'a URL that does not say so': () => cluster.plainUrl,
}

describe.each(Object.entries(urls))('where one node is gone, over %s,', (_name, url) => {
  const ask = async <T>(act: (redis: ReturnType<typeof connectIoredis>) => Promise<T>) => {
    const redis = connectIoredis(url())
    try {
      return await act(redis)
    } finally {
      await redis.close()
    }
  }

  test('what concerns no node in particular is asked of another', async () => {
    for (let n = 0; n < 10; n++) {
      const { streams, clock } = await ask((redis) => inspectStreams({ redis, streams: [FIRST] }))
      expect([clock, streams[0]?.length]).toEqual(['server', 1])
    }
  })

  test('inspectStreams finds the streams of the others, and says that there may be more', async () => {
    const { streams, incomplete } = await ask((redis) => inspectStreams({ redis }))
    expect(streams.map(({ stream }) => stream)).toEqual([FIRST, THIRD].toSorted())
    expect(incomplete).toMatch(/^a node did not answer: Cannot reach Redis: connect ECONNREFUSED/)
  })

  test('diagnose inspects the others, and says which stream it did not reach', async () => {
    const findings = await ask((redis) => diagnose([], { redis, streams: STREAM_OF }))
    expect(findings[0]).toEqual({
      check: 'reachable',
      severity: 'error',
      stream: GONE,
      message: expect.stringMatching(
        /^The node that has the stream does not answer: Cannot reach Redis: connect ECONN/,
      ),
      fix: expect.any(String),
    })
    expect(findings.some(({ check }) => check === 'version')).toBe(true)
    await expect(ask((redis) => diagnose([], { redis, streams: [GONE] }))).rejects.toThrow(/Cannot reach Redis/)
  })

  test('millrace status and doctor show what there is', async () => {
    const status = millrace(['status', '--redis', url()])
    expect(await status.exit, status.text).toBe(0)
    expect(status.text).toContain(FIRST)
    expect(status.text).toMatch(/There may be more streams: a node did not answer/)
    const doctor = millrace(['doctor', ...STREAM_OF.flatMap((name) => ['--stream', name]), '--redis', url()])
    expect(await doctor.exit, doctor.text).toBe(1)
    expect(doctor.text).toContain(`reachable ${GONE}`)
  })
})

test('where nobody says who the nodes are, the streams of one are not taken for all', async () => {
  const proxy = await startFaultProxy((await cluster.ownerOf(FIRST)).server)
  const redis = connectIoredis(proxy.url, { autoResendUnfulfilledCommands: false, maxRetriesPerRequest: 0 })
  try {
    const cut = proxy.cutBefore('info\r\n$7\r\ncluster')
    await expect(inspectStreams({ redis })).rejects.toThrow(/Cannot reach Redis/)
    await cut
  } finally {
    await redis.close()
    await proxy.close()
  }
})
