import type { Connection, Consumer, ConsumerOptions, EventHandler, EventOf } from 'millrace'
import {
  createPublisher,
  defineConsumer,
  NonRetryableError,
  on,
  onBatch,
  orderedBy,
  poll,
  UnavailableError,
} from 'millrace'
import { inspectStreams, redriveDeadLetters } from 'millrace/operate'
import { connectMemory } from 'millrace/testing'
import { describe, expect, test } from 'vitest'
import { systemClock } from '../../dist/clock.js'
import { createMemoryConnection } from '../../dist/group/memory/memory-connection.js'
import { MemoryServer } from '../../dist/group/memory/memory-server.js'
import { claimOnce } from '../support/claim-once.ts'
import { OrderPaid, startScenario } from '../support/scenario.ts'

const STATE = '{orders}:billing:state'
const order = orderedBy(({ aggregateId }) => aggregateId)
const atOnce = { firstMs: 0, factor: 1, maxMs: 0 }

interface World {
  readonly redis: Connection
  /** What is kept of errors, by key. */
  errors(): Promise<Readonly<Record<string, string>>>
  loseGroup(): Promise<void>
}

const keyOf = (fields: readonly (readonly [unknown, unknown])[] = []) =>
  String(fields.find(([name]) => String(name) === 'aggregateId')?.[1])

const WORLDS: Readonly<Record<string, () => Promise<World>>> = {
  async memory() {
    const server = new MemoryServer(systemClock)
    const redis = createMemoryConnection(server)
    return {
      redis,
      async errors() {
        const keys = new Map(redis.entries('orders').map(({ id, fields }) => [id, keyOf(fields)]))
        const kept = [...server.lanes(STATE).errors]
        return Object.fromEntries(kept.map(([id, error]) => [keys.get(id) as string, error]))
      },
      loseGroup: async () => redis.destroyGroup('orders', 'billing'),
    }
  },
  async Redis() {
    const { redis, raw } = await startScenario()
    return {
      redis,
      async errors() {
        const keys = new Map<string, string>()
        for (const [id, flat] of await raw.xrange('orders', '-', '+'))
          keys.set(id, flat[flat.indexOf('aggregateId') + 1] as string)
        const kept = Object.entries(await raw.hgetall(STATE)).filter(([field]) => field.startsWith('error:'))
        return Object.fromEntries(kept.map(([field, text]) => [keys.get(field.slice('error:'.length)) ?? field, text]))
      },
      loseGroup: async () => void (await raw.xgroup('DESTROY', 'orders', 'billing')),
    }
  },
}

function billing(handler: EventHandler<EventOf<typeof OrderPaid>>, options: Partial<ConsumerOptions> = {}): Consumer {
  return defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [on(OrderPaid, handler)],
    use: [order],
    mode: 'once',
    backoff: atOnce,
    ...options,
  })
}

async function publish(redis: Connection, ...keys: string[]): Promise<void> {
  const events = keys.map((aggregateId) => [OrderPaid, { orderId: aggregateId }, { aggregateId }] as const)
  await createPublisher({ stream: 'orders', redis }).publishMany(events)
}

const failing = (error: unknown) => billing(() => Promise.reject(error))
const working = billing(() => {})

describe.each(Object.entries(WORLDS))('the last error of the first of a key, %s', (_name, start) => {
  test('is that of its last failure, and goes with it', async () => {
    const { redis, errors } = await start()
    await publish(redis, 'a', 'b', 'a', 'b')

    await poll(failing(new RangeError('mail is down')), { redis })
    expect(await errors()).toEqual({ a: 'RangeError: mail is down', b: 'RangeError: mail is down' })
    await claimOnce(
      billing(({ aggregateId }) => (aggregateId === 'a' ? Promise.reject(new Error('disk is full')) : undefined)),
      { redis },
    )
    expect(await errors()).toEqual({ a: 'Error: disk is full' })
    for (let round = 0; round < 3; round++) await claimOnce(working, { redis })
    expect(await errors()).toEqual({})
  })

  test('goes where its last failure says nothing', async () => {
    const { redis, errors } = await start()
    await publish(redis, 'a', 'a')
    await poll(failing(new Error('mail is down')), { redis })

    await claimOnce(failing(undefined), { redis })

    expect(await errors()).toEqual({})
  })

  test('is of whole characters also where it is short', async () => {
    const { redis, errors } = await start()
    await publish(redis, 'a')

    await poll(failing(new Error('half \ud83d')), { redis })

    expect(await errors()).toEqual({ a: 'Error: half \ufffd' })
  })

  test('goes where a poller takes all of its key at once', async () => {
    const { redis, errors } = await start()
    await publish(redis, 'a', 'a', 'a')
    await poll(failing(new UnavailableError('later')), { redis })
    expect(await errors()).toEqual({ a: 'UnavailableError: later' })
    const seen: unknown[] = []

    await poll(
      billing(async () => void seen.push(await errors()), { mode: 'drain' }),
      { redis },
    )

    expect(seen).toEqual([{}, {}, {}])
  })

  test('stays while a claimer has it in hand', async () => {
    const { redis, errors } = await start()
    await publish(redis, 'a', 'a')
    await poll(failing(new Error('no')), { redis })
    const seen: unknown[] = []

    await claimOnce(
      billing(async () => {
        seen.push(await errors())
        throw new UnavailableError('later')
      }),
      { redis },
    )

    expect(seen).toEqual([{ a: 'Error: no' }])
    expect(await errors()).toEqual({ a: 'UnavailableError: later' })
  })

  test('is one line of 200 characters, of whole ones', async () => {
    const { redis, errors } = await start()
    await publish(redis, 'a')
    const message = `\u0000one\r\n\u001b[31mtwo\u2028\ud83dthree ${'😀'.repeat(2_500)}\udc00`
    expect(Buffer.byteLength(message)).toBeGreaterThan(10_000)

    await poll(failing(new Error(message)), { redis })

    const { a = '' } = await errors()
    expect(a).toBe(`${`Error: one [31mtwo \ufffdthree ${'😀'.repeat(100)}`.slice(0, 198)}…`)
    expect(a.isWellFormed()).toBe(true)
  })

  test('is kept of a hundred that fail at once, and of none that is done', { timeout: 30_000 }, async () => {
    const { redis, errors } = await start()
    const keys = Array.from({ length: 100 }, (_, n) => `k${n}`)
    await publish(redis, ...keys, ...keys)

    await poll(
      billing(({ aggregateId }) => Promise.reject(new Error(`no ${aggregateId}`)), {
        batchSize: 200,
        concurrency: 100,
      }),
      { redis },
    )

    expect(await errors()).toEqual(Object.fromEntries(keys.map((key) => [key, `Error: no ${key}`])))
    await poll(
      billing(() => {}, { mode: 'drain' }),
      { redis },
    )
    for (let round = 0; round < 3; round++) await claimOnce(working, { redis })
    expect(await errors()).toEqual({})
  })

  test('is not that of what waits behind another in the call that failed', async () => {
    const { redis, errors } = await start()
    await publish(redis, 'a', 'a', 'b')
    const routes = [onBatch(OrderPaid, () => Promise.reject(new Error('no')))]

    await poll(
      billing(() => {}, { routes }),
      { redis },
    )

    expect(await errors()).toEqual({ a: 'Error: no', b: 'Error: no' })
    // what follows comes first by then
    await claimOnce(working, { redis })
    expect(await errors()).toEqual({})
  })

  test('goes with a dead letter, and does not come back with it', async () => {
    const { redis, errors } = await start()
    await publish(redis, 'a', 'a')
    await poll(failing(new Error('mail is down')), { redis })

    await claimOnce(failing(new NonRetryableError('never')), { redis })

    expect(await errors()).toEqual({})
  })

  test('goes with a group that is made again', async () => {
    const { redis, errors, loseGroup } = await start()
    const slow = { firstMs: 3_600_000, factor: 1, maxMs: 3_600_000 }
    const consumer = (message: string) => billing(() => Promise.reject(new Error(message)), { backoff: slow })
    await publish(redis, 'a', 'a')
    await poll(consumer('one'), { redis })
    await claimOnce(consumer('one'), { redis })
    await loseGroup()
    await publish(redis, 'b')

    await poll(consumer('two'), { redis })
    await poll(consumer('two'), { redis })

    expect(await errors()).toEqual({ b: 'Error: two' })
  })
})

test('a connection to memory shows the last error of what is set aside in order', async () => {
  const redis = connectMemory()
  await publish(redis, 'a', 'a')

  await poll(failing(new Error('mail is down')), { redis })

  expect(redis.pending('orders', 'billing').map(({ lastError }) => lastError)).toEqual([
    'Error: mail is down',
    undefined,
  ])
})

test('inspectStreams() shows the error of a dead letter that a key waits for, not once redriven', async () => {
  const { redis } = await startScenario()
  const use = [orderedBy(({ aggregateId }) => aggregateId, { afterDeadLetter: 'wait' })]
  const consumer = billing(() => Promise.reject(new NonRetryableError('never\nmore')), { use })
  await publish(redis, 'a', 'a')
  await poll(consumer, { redis })
  const first = async () => {
    const { streams } = await inspectStreams({ redis, streams: ['orders'] })
    return streams[0]?.groups[0]?.order?.longest?.[0]?.first
  }

  expect(await first()).toMatchObject({ state: 'dead-letter', error: 'NonRetryableError: never more' })
  await redriveDeadLetters(consumer, { redis, all: true })
  expect((await first())?.state).toBe('time')
  expect(await first()).not.toHaveProperty('error')
})

test('an entry whose dead letter is refused keeps its error', async () => {
  const { redis, raw } = await startScenario()
  await raw.set('{orders}:billing:dlq', 'no stream')
  await publish(redis, 'a')

  await poll(failing(new NonRetryableError('never')), { redis }).catch(() => {})

  const kept = Object.entries(await raw.hgetall(STATE)).filter(([field]) => field.startsWith('error:'))
  expect(kept.map(([, error]) => error)).toEqual(['NonRetryableError: never'])
})
