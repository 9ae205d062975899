import { Redis } from 'ioredis'
import type { Connection } from 'millrace'
import { createPublisher, NonRetryableError, poll, promoteDelays } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import {
  accessOf,
  type DeadLetter,
  diagnose,
  dropDeadLetters,
  inspectStreams,
  listDeadLetters,
  redriveDeadLetters,
} from 'millrace/operate'
import { connectMemory } from 'millrace/testing'
import { connectUpstash } from 'millrace/upstash'
import { describe, expect, it, onTestFinished } from 'vitest'
import { millrace } from '../cli/millrace.ts'
import { claimOnce } from '../support/claim-once.ts'
import { startOneNodeCluster } from '../support/one-node-cluster.ts'
import { startRestServer } from '../support/rest-server.ts'
import { billing, counts, OrderPaid, startScenario } from '../support/scenario.ts'
import { watchCommands } from '../support/watch-commands.ts'

const ELSEWHERE = 'webhook:order-events:dlq'
const STREAM = 'order-events'
const WORDS =
  /^CROSSSLOT deadLetters\.stream "webhook:order-events:dlq" lies in another hash slot than stream "order-events", which a cluster refuses: give it the stream's hash tag, and no allowOtherSlot$/

const failing = { isBroken: true }
const consumer = billing(() => (failing.isBroken ? Promise.reject(new NonRetryableError('gone')) : undefined), {
  stream: STREAM,
  deadLetters: { stream: ELSEWHERE, allowOtherSlot: true },
})

async function publish(redis: Connection, ...orderIds: string[]) {
  const orders = createPublisher({ stream: STREAM, redis })
  await orders.publishMany(orderIds.map((orderId) => [OrderPaid, { orderId }] as const))
}

async function letters(redis: Connection): Promise<DeadLetter[]> {
  const found: DeadLetter[] = []
  for await (const letter of listDeadLetters(consumer, { redis })) found.push(letter as DeadLetter)
  return found
}

describe('a dead-letter stream of another hash slot, on a server that is no cluster', () => {
  it.each(['TCP', 'REST'])('takes letters, and redrives them: over %s', async (how) => {
    const scenario = await startScenario()
    failing.isBroken = true
    const redis = how === 'TCP' ? scenario.redis : await overRest(scenario.server.url)
    await publish(redis, 'a', 'b', 'c')

    expect(counts(await poll(consumer, { redis }))).toMatchObject({ read: 3, deadLettered: 3 })
    const [first, second] = await letters(redis)
    expect(await redriveDeadLetters(consumer, { redis, ids: [first?.id ?? ''] })).toMatchObject({ redriven: 1 })
    expect(await dropDeadLetters(consumer, { redis, ids: [second?.id ?? ''] })).toMatchObject({ dropped: 1 })
    failing.isBroken = false
    expect(counts(await claimOnce(consumer, { redis }))).toMatchObject({ claimed: 1, acked: 1 })
    expect(await scenario.raw.xlen(ELSEWHERE)).toBe(1)
    expect(await scenario.raw.exists(`{${STREAM}}:billing:dlq`)).toBe(0)
  })

  it.each([undefined, promoteDelays()])('is no slot of a poller, nor a flag of delays (%o)', async (delays) => {
    const { redis, raw } = await startScenario()
    const one = billing(() => {}, {
      stream: STREAM,
      deadLetters: { stream: ELSEWHERE, allowOtherSlot: true },
      maxPollers: 1,
      ...(delays && { delays }),
    })
    const orders = createPublisher({ stream: STREAM, redis })
    await orders.publish(OrderPaid, { orderId: 'a' }, { delayMs: 0 })
    const idle = await poll(one, { redis })
    await raw.set(`{${STREAM}}:billing:slot:poller-0`, 'somebody', 'PX', 60_000)

    expect(idle).toMatchObject(delays ? { promoted: 1, acked: 1 } : { promoted: 0, read: 0 })
    expect(await poll(one, { redis })).toMatchObject({ noFreeSlot: true })
    expect(await raw.exists(ELSEWHERE)).toBe(0)
  })

  it('takes letters in memory', async () => {
    const redis = connectMemory()
    failing.isBroken = true
    await publish(redis, 'a')

    expect(counts(await poll(consumer, { redis }))).toMatchObject({ read: 1, deadLettered: 1 })
    expect(redis.entries(ELSEWHERE)).toHaveLength(1)
  })

  it('is what status, doctor, dlq and the ACL line name', async () => {
    const { redis, server, raw } = await startScenario()
    failing.isBroken = true
    await publish(redis, 'a')
    await raw.call('ACL', 'SETUSER', 'poller', 'reset', '>secret', ...rulesOf(accessOf(consumer).poller))
    const poller = connectIoredis(`redis://poller:secret@${server.host}:${server.port}`)
    onTestFinished(() => poller.close())
    const report = await poll(consumer, { redis: poller })
    const { streams } = await inspectStreams({ redis, consumers: [consumer] })
    const found = await diagnose(consumer, { redis })
    const dlq = millrace(
      ['dlq', 'ls', '--stream', STREAM, '--group', 'billing', '--dead-letters', ELSEWHERE, '--json'],
      {
        env: { REDIS_URL: server.url, PATH: process.env.PATH },
      },
    )

    expect(report).toMatchObject({ deadLettered: 1 })
    expect(streams[0]?.groups[0]?.deadLetters).toMatchObject({ stream: ELSEWHERE, length: 1 })
    expect(found.filter(({ check }) => check.startsWith('dead-letter'))).toMatchObject([
      { message: expect.stringContaining(`1 dead letter in "${ELSEWHERE}"`), fix: expect.stringContaining(ELSEWHERE) },
    ])
    expect([await dlq.exit, dlq.lines.length]).toEqual([0, 1])
  })
})

describe('a dead-letter stream of another hash slot, on a cluster', () => {
  it('is refused by the first command, in one sentence, once; what was pending stays pending', async () => {
    const server = await startOneNodeCluster()
    onTestFinished(() => server.stop())
    const redis = connectIoredis(`${server.url}?cluster`)
    onTestFinished(() => redis.close())
    failing.isBroken = true
    const before = billing(() => Promise.reject(new Error('down')), { stream: STREAM })
    await publish(redis, 'a', 'b')
    await poll(before, { redis })
    await publish(redis, 'c')
    const watch = await watchCommands(server.url)
    const runs = [poll, claimOnce].map((run) => run(consumer, { redis }).catch((error: Error) => error))
    const errors = (await Promise.all(runs)) as (Error & { failures: { error: Error }[] })[]
    const sent = (await watch.sent()).map(([name]) => name).filter((name) => /^(eval|x)/.test(name ?? ''))
    const { streams } = await inspectStreams({ redis, consumers: [consumer] })

    for (const { failures } of errors)
      expect(failures.map(({ error }) => error.message)).toEqual([expect.stringMatching(WORDS)])
    expect(sent.length).toBeLessThanOrEqual(6)
    expect(streams[0]?.groups[0]).toMatchObject({ pending: 2, parked: 2, lag: 1 })
    expect(await diagnose(consumer, { redis })).toContainEqual(
      expect.objectContaining({ check: 'dead-letter-slot', severity: 'error' }),
    )
  })

  it('says so to whoever redrives', async () => {
    const { redis, raw } = await startScenario()
    failing.isBroken = true
    await publish(redis, 'a')
    await poll(consumer, { redis })
    const [letter] = await raw.xrange(ELSEWHERE, '-', '+')
    const server = await startOneNodeCluster()
    onTestFinished(() => server.stop())
    const cluster = connectIoredis(`${server.url}?cluster`)
    onTestFinished(() => cluster.close())
    const admin = new Redis(server.url)
    onTestFinished(() => admin.disconnect())
    await admin.xadd(ELSEWHERE, '*', ...(letter?.[1] ?? []))

    await expect(redriveDeadLetters(consumer, { redis: cluster, all: true })).rejects.toThrow(WORDS)
    expect(await dropDeadLetters(consumer, { redis: cluster, all: true })).toMatchObject({ dropped: 1 })
  })
})

const rulesOf = (access: string) => access.match(/\([^)]*\)|\S+/g) ?? []

async function overRest(redisUrl: string): Promise<Connection> {
  const rest = await startRestServer({ redisUrl, token: 'secret' })
  onTestFinished(() => rest.close())
  return connectUpstash({ url: rest.url, token: 'secret' })
}
