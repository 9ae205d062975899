import { createPublisher, NonRetryableError, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { diagnose, dropDeadLetters, inspectStreams, redriveDeadLetters } from 'millrace/operate'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { millrace } from '../../cli/millrace.ts'
import { claimOnce } from '../../support/claim-once.ts'
import { type PrivateCluster, STREAM_OF, startCluster } from '../../support/cluster.ts'
import { billing, OrderPaid } from '../../support/consumer.ts'

let cluster: PrivateCluster
const consumers = STREAM_OF.map((stream) =>
  billing(
    async ({ payload }: never) => {
      if ((payload as { orderId: string }).orderId === 'bad') throw new NonRetryableError('bad')
    },
    { stream },
  ),
)
beforeAll(async () => {
  cluster = await startCluster()
  const redis = connectIoredis(cluster.url)
  for (const stream of STREAM_OF)
    await createPublisher({ stream, redis }).publishMany([
      [OrderPaid, { orderId: 'good' }],
      [OrderPaid, { orderId: 'bad' }],
    ])
  await poll(consumers, { redis, remainingMs: 20_000 })
  await redis.close()
}, 30_000)
afterAll(() => cluster.stop())

const printed = async (...args: string[]) => {
  const run = millrace(args)
  const code = await run.exit
  return { code, text: run.lines.join('\n') }
}

describe.each([
  ['a URL that says ?cluster', () => cluster.url],
  ['a plain URL', () => cluster.plainUrl],
])('with %s', (_name, url) => {
  test('inspectStreams finds the streams of all nodes', async () => {
    const redis = connectIoredis(url())
    const { streams } = await inspectStreams({ redis })
    await redis.close()
    expect(streams.map(({ stream, groups }) => [stream, groups[0]?.deadLetters?.length])).toEqual(
      STREAM_OF.toSorted().map((stream) => [stream, 1]),
    )
  })

  test('diagnose inspects consumers of several nodes', async () => {
    const redis = connectIoredis(url())
    const findings = await diagnose(consumers, { redis })
    await redis.close()
    expect(findings.filter(({ message }) => /Not told|MOVED/.test(message))).toEqual([])
    expect(new Set(findings.flatMap(({ stream }) => stream ?? []))).toEqual(new Set(STREAM_OF))
  })

  test('millrace status shows all streams, named or not', async () => {
    for (const names of [[], STREAM_OF.flatMap((stream) => ['--stream', stream])]) {
      const { code, text } = await printed('status', ...names, '--redis', url())
      expect(code, text).toBe(0)
      for (const stream of STREAM_OF) expect(text).toContain(stream)
    }
  })

  test('millrace tail, dlq list and doctor work on a stream of any node', async () => {
    for (const stream of STREAM_OF) {
      const tail = await printed('tail', '--stream', stream, '--from', '0', '--count', '2', '--redis', url())
      expect(tail, tail.text).toMatchObject({ code: 0, text: expect.stringContaining('OrderPaid') })
      const dlq = await printed('dlq', 'ls', '--stream', stream, '--group', 'billing', '--redis', url())
      expect(dlq, dlq.text).toMatchObject({ code: 0, text: expect.stringContaining('bad') })
    }
    const doctor = await printed('doctor', ...STREAM_OF.flatMap((stream) => ['--stream', stream]), '--redis', url())
    expect(doctor.text).not.toMatch(/MOVED|Not told|slots allocation/)
    for (const stream of STREAM_OF) expect(doctor.text).toContain(stream)
  })
})

test('dead letters are redriven and dropped on every node', async () => {
  const redis = connectIoredis(cluster.url)
  for (const [n, consumer] of consumers.entries()) {
    const source = { stream: consumer.stream, group: 'billing' }
    if (n === 0) expect(await redriveDeadLetters(source, { redis, all: true })).toMatchObject({ redriven: 1 })
    else expect(await dropDeadLetters(source, { redis, all: true })).toMatchObject({ dropped: 1 })
  }
  await claimOnce(consumers, { redis, remainingMs: 20_000 })
  await redis.close()
})

test("a node that hangs stops only its own consumers' runs", async () => {
  const redis = connectIoredis(cluster.url, { commandTimeout: 1_000, socketTimeout: 500 })
  const handled: string[] = []
  const slow = STREAM_OF.map((stream) =>
    billing(async () => void handled.push(stream), { stream, group: 'side', mode: 'once' }),
  )
  await poll(slow, { redis, remainingMs: 20_000 })
  for (const stream of STREAM_OF) await createPublisher({ stream, redis }).publish(OrderPaid, { orderId: 'good' })
  handled.length = 0
  const hanging = await cluster.ownerOf(STREAM_OF[0] as string)
  hanging.server.kill('SIGSTOP')
  try {
    const failed = poll(slow, { redis, remainingMs: 20_000 })
    await expect(failed).rejects.toMatchObject({
      failures: [expect.objectContaining({ stream: STREAM_OF[0] })],
    })
    expect(handled.toSorted()).toEqual(STREAM_OF.slice(1).toSorted())
  } finally {
    hanging.server.kill('SIGCONT')
    await redis.close()
  }
})
