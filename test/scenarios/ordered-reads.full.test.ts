import { setTimeout as delay } from 'node:timers/promises'
import type { Connection, Consumer, ConsumerOptions } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, on, orderedBy, poll, RedisConnectionError } from 'millrace'
import { expect, test } from 'vitest'
import * as z from 'zod/mini'
import { createRedisConnection } from '../../dist/group/redis/redis-connection.js'
import type { RedisCommand, Transport } from '../../src/group/redis/transport.ts'
import { claimOnce } from '../support/claim-once.ts'
import { DLQ, startScenario } from '../support/scenario.ts'

const Stepped = defineEvent('Stepped', { payload: z.object({ step: z.number() }) })
const DUE = '{orders}:billing:due'

function stepping(handle: (step: number) => unknown, options: Partial<ConsumerOptions> = {}): Consumer {
  return defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [on(Stepped, async ({ payload: { step } }) => void (await handle(step)))],
    batchSize: 2,
    backoff: { firstMs: 1, factor: 1, maxMs: 1 },
    use: [orderedBy(({ aggregateId }) => aggregateId)],
    ...options,
  })
}

type Answers = Awaited<ReturnType<Transport['send']>>

/** A connection whose requests go through a function. */
function through(
  redis: Connection,
  pass: (commands: readonly RedisCommand[], send: () => Promise<Answers>) => unknown,
) {
  const { transport } = redis as unknown as { readonly transport: Transport }
  const send = (commands: readonly RedisCommand[], ms?: number) => pass(commands, () => transport.send(commands, ms))
  return createRedisConnection({ scriptPrefix: '', send, close: async () => {} } as never) as unknown as Connection
}

const isRead = (commands: readonly RedisCommand[]) => commands.some(([name]) => name === 'xreadgroup')
const noAnswer = () => new RedisConnectionError('Cannot reach Redis: no answer')

async function start(...steps: number[]) {
  const { redis, raw } = await startScenario()
  const publisher = createPublisher({ stream: 'orders', redis })
  const publish = (...more: number[]) =>
    publisher.publishMany(more.map((step) => [Stepped, { step }, { aggregateId: 'a' }] as const))
  await publish(...steps)
  const pending = async () => ((await raw.xpending('orders', 'billing')) as [number])[0]
  /** Runs until nothing is pending, or nothing helps. */
  const finish = async (consumer: Consumer) => {
    for (let round = 0; round < 10; round++) {
      await poll(consumer, { redis })
      await claimOnce(consumer, { redis })
      if ((await pending()) === 0) return
    }
  }
  return { redis, raw, publish, pending, finish }
}

test('entries whose acknowledged predecessors alone were answered fail the run, and cost no delivery', async () => {
  const { redis, raw, finish } = await start(1, 2, 3, 4, 5, 6, 7, 8)
  const done: number[] = []
  let isToBreak = false
  const breaking = through(redis, async (commands, send) => {
    const answers = await send()
    if (!isToBreak || !isRead(commands)) return answers
    isToBreak = false
    return answers.map((answer, n) => (n === 0 ? answer : noAnswer()))
  })
  const handle = (step: number) => {
    done.push(step)
    isToBreak = step === 4
  }
  const consumer = stepping(handle, { maxDeliveries: 1 })

  await expect(poll(consumer, { redis: breaking })).rejects.toMatchObject({ report: { read: 4, acked: 4 } })
  expect(done).toEqual([1, 2, 3, 4])
  await finish(consumer)

  expect(done).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
  expect(await raw.xlen(DLQ)).toBe(0)
})

test('what a request that was sent again read beyond its answer is given back', async () => {
  const { redis, raw, finish } = await start(1, 2, 3, 4, 5, 6, 7, 8)
  const done: number[] = []
  let isToBreak = false
  const again = through(redis, async (commands, send) => {
    if (isToBreak && isRead(commands)) {
      isToBreak = false
      await send()
    }
    return send()
  })
  const abort = new AbortController()
  const handle = (step: number) => {
    done.push(step)
    isToBreak = step === 2
    if (step === 3) abort.abort()
  }
  const consumer = stepping(handle, { maxDeliveries: 1 })

  const { read, acked, released } = await poll(consumer, { redis: again, signal: abort.signal })
  expect([read, acked, released, done]).toEqual([4, 3, 1, [1, 2, 3]])
  expect(await raw.xpending('orders', 'billing', '-', '+', 10, 'poller-0')).toEqual([])
  await finish(consumer)

  expect(done).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
  expect(await raw.xlen(DLQ)).toBe(0)
})

test('what a read brings that is carried out after its run costs no delivery', async () => {
  const { redis, raw, pending, finish } = await start(1, 2, 3, 4, 5)
  const done: number[] = []
  const late: (() => Promise<Answers>)[] = []
  const losing = through(redis, async (commands, send) => {
    if (late.length > 0 || done.length < 2 || !isRead(commands)) return send()
    late.push(send)
    throw noAnswer()
  })
  const consumer = stepping((step) => done.push(step), { maxDeliveries: 1 })

  await expect(poll(consumer, { redis: losing })).rejects.toThrow('no answer')
  await raw.xack('orders', 'billing', '0-1') // a command later
  await delay(2) // a millisecond after the run's end
  await late[0]?.()
  expect(await pending()).toBe(2)
  await finish(consumer)

  expect(done).toEqual([1, 2, 3, 4, 5])
  expect(await raw.xlen(DLQ)).toBe(0)
})

test('nothing of a key starts beside what runs of it, though somebody sets the group back', async () => {
  const steps = Array.from({ length: 12 }, (_, n) => n + 1)
  const { redis, raw } = await start(...steps)
  const log: number[] = []
  let running = 0
  let most = 0
  let isSetBack = false
  const handle = async (step: number) => {
    log.push(step)
    most = Math.max(most, ++running)
    if (step === 5 && !isSetBack) {
      isSetBack = true
      await raw.xgroup('SETID', 'orders', 'billing', '0')
      await delay(80) // as long as it takes the run to read past what runs
    }
    await delay(1)
    running--
  }

  await poll(stepping(handle), { redis })

  const again = log.slice(log.lastIndexOf(1))
  expect([most, isSetBack]).toEqual([1, true])
  // what was in hand goes on beside what comes again
  expect(again.filter((step) => step < 5)).toEqual([1, 2, 3, 4])
  expect(new Set(again).size).toBe(steps.length)
})

test('what nobody heard of comes in its place, though the first of it was deleted', async () => {
  const { redis, raw } = await start(1, 2, 3, 4, 5, 6, 7, 8)
  const done: number[] = []
  let isToBreak = false
  const again = through(redis, async (commands, send) => {
    if (!isToBreak || !isRead(commands)) return send()
    isToBreak = false
    await send()
    await send()
    const held = (await raw.xpending('orders', 'billing', '-', '+', 10, 'poller-0')) as [string][]
    await raw.xdel('orders', held.at(-2)?.[0] as string)
    return send()
  })
  const handle = (step: number) => {
    done.push(step)
    isToBreak = step === 2
  }

  await poll(stepping(handle, { batchSize: 1 }), { redis: again })

  expect(done).toEqual([1, 2, 3, 5, 6, 7, 8])
})

test('a lane that was taken whole leaves nothing in the index', async () => {
  const { redis, raw, pending } = await start(1, 2, 3, 4)
  const done: number[] = []
  let hasFailed = false
  const consumer = stepping(
    (step) => {
      if (step === 1 && !hasFailed) {
        hasFailed = true
        throw new Error('once')
      }
      done.push(step)
    },
    { batchSize: 10 },
  )

  for (let round = 0; round < 10 && done.length < 4; round++) await poll(consumer, { redis })

  expect([done, await pending()]).toEqual([[1, 2, 3, 4], 0])
  expect(await raw.zrange(DUE, '0', '-1')).toEqual([])
})

test('what is set aside behind a lane stays behind it, though its request is sent again', async () => {
  const { redis, publish } = await start(1, 2)
  const consumers = (handle: (step: number) => unknown) => stepping(handle, { batchSize: 10 })
  const failing = consumers(() => {
    throw new Error('not yet')
  })
  // the first fails, and is done; the second is in a lane by itself then
  await poll(failing, { redis, mode: 'once' })
  const done: number[] = []
  const handle = (step: number) => void done.push(step)
  const abort = new AbortController()
  const first = consumers((step) => {
    done.push(step)
    abort.abort()
  })
  for (let round = 0; round < 50 && done.length === 0; round++) await claimOnce(first, { redis, signal: abort.signal })
  expect(done).toEqual([1])
  await publish(3, 4)
  const again = through(redis, async (commands, send) => {
    if (!commands.some((command) => command.includes('aside'))) return send()
    await send()
    const answers = await send()
    await claimOnce(consumers(handle), { redis })
    return answers
  })

  await poll(consumers(handle), { redis: again })

  expect(done).toEqual([1, 2, 3, 4])
})
