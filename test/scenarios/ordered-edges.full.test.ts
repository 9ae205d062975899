import type { Connection, Consumer, EventHandler } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, on, orderedBy, poll, RedisConnectionError } from 'millrace'
import { connectMemory } from 'millrace/testing'
import { describe, expect, test } from 'vitest'
import * as z from 'zod/mini'
import { consumerKeys } from '../../dist/core/keys.js'
import { createRedisConnection } from '../../dist/group/redis/redis-connection.js'
import type { RedisCommand, Transport } from '../../src/group/redis/transport.ts'
import { claimOnce } from '../support/claim-once.ts'
import { startScenario } from '../support/scenario.ts'

const Stepped = defineEvent('Stepped', { payload: z.object({ step: z.number() }) })
type Handle = (step: number, deliveryCount: number) => void | Promise<void>

function stepping(
  handle: Handle,
  { isOrdered = true, batchSize = 100, maxDeliveries = 10, retryMs = 1 } = {},
): Consumer {
  const handler: EventHandler<never> = ({ payload }: { payload: { step: number } }, { deliveryCount }) =>
    handle(payload.step, deliveryCount)
  return defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [on(Stepped, handler as EventHandler)],
    batchSize,
    backoff: { firstMs: retryMs, factor: 1, maxMs: retryMs },
    maxDeliveries,
    use: isOrdered ? [orderedBy(({ aggregateId }) => aggregateId)] : [],
  })
}

async function publishSteps(redis: Connection, steps: readonly number[], aggregateId = 'a') {
  const publisher = createPublisher({ stream: 'orders', redis })
  for (const step of steps) await publisher.publish(Stepped, { step }, { aggregateId })
}

const failing: Handle = () => {
  throw new Error('not yet')
}

describe.each<[string, () => Promise<Connection>]>([
  ['memory', async () => connectMemory()],
  ['TCP', async () => (await startScenario()).redis],
])('a group whose order is turned off and on, %s', (_name, start) => {
  test('handles all of a lane in order of which runs without it gave something back', async () => {
    const redis = await start()
    await publishSteps(redis, [1, 2, 3, 4])
    // the first fails, and the others wait behind it
    await poll(stepping(failing), { redis, remainingMs: 12_000, mode: 'once' })
    // without order the first is done, and the others have failed
    const withoutOrder = stepping((step) => (step === 1 ? undefined : failing(step, 1)), { isOrdered: false })
    for (let round = 0; round < 3; round++) await claimOnce(withoutOrder, { redis })

    const done: number[] = []
    for (let round = 0; round < 5 && done.length < 3; round++) {
      const ordered = stepping((step) => void done.push(step))
      await poll(ordered, { redis })
      await claimOnce(ordered, { redis })
    }

    expect(done).toEqual([2, 3, 4])
  })

  test('makes lanes of what was set aside without it, though as much is done', async () => {
    const redis = await start()
    await publishSteps(redis, [1])
    await poll(stepping(failing), { redis, mode: 'once' })
    await publishSteps(redis, [2], 'b')
    // without order the first is done, and another one has failed
    const withoutOrder = stepping((step) => (step === 1 ? undefined : failing(step, 1)), {
      isOrdered: false,
      retryMs: 60_000,
    })
    await claimOnce(withoutOrder, { redis })
    await poll(withoutOrder, { redis, mode: 'once' })
    await publishSteps(redis, [3], 'b')

    const done: number[] = []
    await poll(
      stepping((step) => void done.push(step)),
      { redis, mode: 'once' },
    )

    expect(done).toEqual([])
  })

  test('makes a dead letter of what has an unreadable key, also once set aside', async () => {
    const redis = await start()
    await publishSteps(redis, [1], 'x'.repeat(2_000))
    await poll(stepping(failing, { isOrdered: false }), { redis, mode: 'once' })

    const called: number[] = []
    const ordered = stepping((step) => void called.push(step))
    const { deadLettered } = await poll(ordered, { redis })

    expect([deadLettered, called]).toEqual([1, []])
  })
})

test('what somebody else reads under the name of the slot comes in its place', async () => {
  const { redis, raw } = await startScenario()
  await publishSteps(redis, [1, 2, 3, 4, 5, 6, 7, 8])
  const done: number[] = []
  const stray = () => raw.xreadgroup('GROUP', 'billing', 'poller-0', 'COUNT', '2', 'STREAMS', 'orders', '>')

  const handle: Handle = async (step) => {
    done.push(step)
    // as the late request of a run that has lost it
    if (step === 1 || step === 6) await stray()
  }

  const report = await poll(stepping(handle, { batchSize: 1 }), { redis })

  expect(done).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
  expect([report.read, report.acked]).toEqual([8, 8])
  expect((await raw.xpending('orders', 'billing'))[0]).toBe(0)
})

test('what was read once the slot went to another comes again in its place', async () => {
  const { redis, raw } = await startScenario()
  await publishSteps(redis, [1, 2, 3, 4, 5, 6])
  const done: number[] = []
  const handle: Handle = async (step) => {
    done.push(step)
    if (step === 2) await raw.set('{orders}:billing:slot:poller-0', 'another', 'PX', 60_000)
  }

  await poll(stepping(handle, { batchSize: 1 }), { redis }).catch(() => {})
  // one was read ahead by then
  expect(done).toEqual([1, 2, 3])

  await raw.del('{orders}:billing:slot:poller-0')
  for (let round = 0; round < 8; round++) {
    await poll(stepping(handle), { redis })
    await claimOnce(stepping(handle), { redis })
    await raw.del('{orders}:billing:slot:poller-0')
  }
  expect(done).toEqual([1, 2, 3, 2, 3, 4, 5, 6])
})

test('what a read brought that its client sent again comes before what the second brought', async () => {
  const { redis, raw } = await startScenario()
  const { transport } = redis as unknown as { readonly transport: Transport }
  const isRead = ([name]: RedisCommand) => name === 'xreadgroup'
  let isToBreak = false
  // the answer is lost with its connection, and the client sends the request again
  const again = createRedisConnection({
    ...transport,
    async send(commands: readonly RedisCommand[], timeoutMs?: number) {
      const isBroken = isToBreak && commands.some(isRead)
      isToBreak &&= !isBroken
      if (isBroken) await transport.send(commands, timeoutMs)
      return transport.send(commands, timeoutMs)
    },
  } as never) as unknown as Connection
  await publishSteps(redis, [1, 2, 3, 4, 5, 6])
  const done: number[] = []

  const handle: Handle = (step) => {
    done.push(step)
    if (step === 2) isToBreak = true
  }

  await poll(stepping(handle, { batchSize: 1 }), { redis: again })

  expect(isToBreak).toBe(false)
  expect(done).toEqual([1, 2, 3, 4, 5, 6])
  expect((await raw.xpending('orders', 'billing'))[0]).toBe(0)
})

test('what a first read brought that nobody heard of gets its delivery back', async () => {
  const { redis, raw } = await startScenario()
  const { transport } = redis as unknown as { readonly transport: Transport }
  const { wake } = consumerKeys('orders', 'billing')
  const isRead = (command: RedisCommand) => command.includes(wake) && command.includes('{orders}:billing:lanes')
  let isLost = false
  const losing = createRedisConnection({
    ...transport,
    async send(commands: readonly RedisCommand[], timeoutMs?: number) {
      const answers = await transport.send(commands, timeoutMs)
      const isAnswered = commands.some((command, n) => isRead(command) && Array.isArray(answers[n]))
      if (isLost || !isAnswered) return answers
      isLost = true
      throw new RedisConnectionError('Cannot reach Redis: no answer')
    },
  } as never) as unknown as Connection
  await publishSteps(redis, [1, 2, 3])
  const done: number[] = []
  const consumer = stepping((step) => void done.push(step), { maxDeliveries: 1 })

  await expect(poll(consumer, { redis: losing })).rejects.toThrow('no answer')
  expect((await raw.xpending('orders', 'billing'))[0]).toBe(3)
  // a last delivery is the claimer's
  for (let round = 0; round < 5 && done.length < 3; round++) await claimOnce(consumer, { redis })

  expect(done).toEqual([1, 2, 3])
  expect(await raw.xlen('{orders}:billing:dlq')).toBe(0)
})
