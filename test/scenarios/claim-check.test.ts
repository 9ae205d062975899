import fc from 'fast-check'
import type { ClaimCheckOptions, Connection, ConsumerOptions, EventHandler, PayloadStore } from 'millrace'
import {
  claimCheck,
  createPublisher,
  defineConsumer,
  defineEvent,
  effects,
  filterPatterns,
  flatCodec,
  idempotent,
  on,
  onBatch,
  PayloadStoreError,
  poll,
  promoteDelays,
  readEvents,
} from 'millrace'
import { redriveDeadLetters } from 'millrace/operate'
import { connectMemory, type MemoryStore, memoryStore } from 'millrace/testing'
import { connectUpstash } from 'millrace/upstash'
import { describe, expect, it, onTestFinished } from 'vitest'
import * as z from 'zod/mini'
import { claimOnce } from '../support/claim-once.ts'
import { startRestServer } from '../support/rest-server.ts'
import { counts, type Scenario, startScenario } from '../support/scenario.ts'

const Filed = defineEvent('Filed', { payload: z.object({ id: z.string(), text: z.string() }) })
const Any = defineEvent('Any', { payload: z.unknown() })
const SECRET = 'never to be seen '
const long = (id: string) => ({ id, text: SECRET.repeat(20) })

/** A store that counts what is fetched, and fails where a test says so. */
function aStore() {
  const store: MemoryStore = memoryStore()
  const state = { fetched: 0, failure: undefined as Error | undefined }
  const failing: PayloadStore = {
    async put(...call) {
      if (state.failure) throw state.failure
      return store.put(...call)
    },
    async get(...call) {
      state.fetched++
      if (state.failure) throw state.failure
      return store.get(...call)
    },
  }
  return { ...state, state, store, failing }
}

function aShop(given: Partial<ClaimCheckOptions> = {}) {
  const { store, failing, state } = aStore()
  const codec = claimCheck({ store: failing, overBytes: 200, ...given })
  const seen: unknown[] = []
  const handler: EventHandler = ({ payload }) => void seen.push(payload)
  const consumer = (options: Partial<ConsumerOptions> = {}) =>
    defineConsumer({
      stream: 'orders',
      group: 'billing',
      codec,
      routes: [on(Filed, handler), on(Any, handler)],
      backoff: { firstMs: 0 },
      ...options,
    })
  const publisher = (redis: Connection) => createPublisher({ stream: 'orders', redis, codec })
  return { store, state, codec, seen, consumer, publisher }
}

const payloads = async ({ raw }: Scenario) =>
  (await raw.xrange('orders', '-', '+')).map(([, fields]) => JSON.parse(fields.at(-1) as string) as unknown)
const REFERENCE = { claimCheck: expect.stringMatching(/^sha256:[0-9a-f]{64}:\d+$/) }

const OVER: Readonly<Record<string, () => Promise<Connection>>> = {
  TCP: async () => (await startScenario()).redis,
  REST: async () => {
    const { server } = await startScenario()
    const rest = await startRestServer({ redisUrl: server.url, token: 'secret' })
    onTestFinished(() => rest.close())
    return connectUpstash({ url: rest.url, token: 'secret' })
  },
  memory: async () => connectMemory(),
}

describe('claimCheck()', () => {
  it.each(Object.keys(OVER))(
    'keeps a large payload in its store, and hands it to the handler: over %s',
    async (how) => {
      const redis = (await OVER[how]?.()) as Connection
      const { publisher, consumer, seen, store } = aShop()
      const small = { id: 'small', text: 'short' }
      await publisher(redis).publishMany([
        [Filed, small],
        [Filed, long('large')],
      ])

      expect(counts(await poll(consumer(), { redis }))).toMatchObject({ read: 2, acked: 2 })
      expect([seen, store.payloads.size]).toEqual([expect.arrayContaining([small, long('large')]), 1])
    },
  )

  it('writes what refers to it in place of the payload, whatever way an event is published', async () => {
    const scenario = await startScenario()
    const { redis } = scenario
    const { publisher, consumer, seen } = aShop()
    const orders = publisher(redis)
    await orders.publish(Filed, long('plain'))
    await orders.publish(Filed, long('delayed'), { delayMs: 0 })
    await orders.publish(Filed, long('once'), { eventId: 'e', deduplicateMs: 60_000 })
    await orders.publish(Filed, long('expected'), { aggregateId: 'a', expectedVersion: 0 })
    await poll(consumer({ delays: promoteDelays() }), { redis })

    expect(await payloads(scenario)).toEqual(Array(4).fill(REFERENCE))
    expect(seen).toHaveLength(4)
    expect(seen).toEqual(expect.arrayContaining(['plain', 'delayed', 'once', 'expected'].map(long)))
  })

  it('is read back by readEvents', async () => {
    const { redis } = await startScenario()
    const { publisher, codec, store } = aShop()
    await publisher(redis).publish(Filed, long('1'), { aggregateId: 'a', expectedVersion: 0 })
    const read = async () => {
      const all: unknown[] = []
      for await (const { payload } of readEvents('orders', { redis, events: [Filed], aggregateId: 'a', codec }))
        all.push(payload)
      return all
    }

    expect(await read()).toEqual([long('1')])
    store.delete([...store.payloads.keys()][0] as string)
    await expect(read()).rejects.toMatchObject({ code: 'ERR_EVENT_UNREADABLE', cause: { code: 'ERR_PAYLOAD_GONE' } })
  })

  it('gives back any JSON as it was published, above and below overBytes', async () => {
    const redis = connectMemory()
    const { publisher, consumer, seen } = aShop({ overBytes: 100 })
    const orders = publisher(redis)
    const digest = `sha256:${'a'.repeat(64)}:5`
    const arbitrary = fc.oneof(
      fc.jsonValue(),
      fc.constant({ claimCheck: digest }),
      fc.constant({ claimCheck: `${digest}x` }),
      fc.constant({ claimCheck: digest, other: 1 }),
    )
    await fc.assert(
      fc.asyncProperty(arbitrary, async (value) => {
        seen.length = 0
        const published = JSON.parse(JSON.stringify(value)) as unknown
        await orders.publish(Any, value)
        await poll(consumer(), { redis })
        expect(seen).toEqual([published])
      }),
      { numRuns: 200 },
    )
  })

  it('goes around a codec of flat entries', async () => {
    const redis = connectMemory()
    const codec = flatCodec({ typeField: 'type', idField: 'id_of_event' })
    const { publisher, consumer, seen } = aShop({ codec })
    await publisher(redis).publish(Filed, long('flat'))

    await poll(consumer(), { redis })
    expect(redis.entries('orders')[0]?.fields.map(([name]) => String(name))).toContain('claimCheck')
    expect(seen).toEqual([long('flat')])
  })

  it('fetches for policies that decide about events, too', async () => {
    const { redis } = await startScenario()
    const { publisher, consumer, seen } = aShop()
    const once = consumer({
      use: [idempotent({ ttlMs: 3_600_000, by: ({ payload }) => (payload as { id: string }).id })],
    })
    await publisher(redis).publishMany([
      [Filed, long('1')],
      [Filed, long('1')],
    ])

    expect(await poll(once, { redis })).toMatchObject({ read: 2, acked: 2, duplicates: 1, invoked: 1 })
    expect(seen).toEqual([long('1')])
  })

  it('fetches nothing for what is not for the group, unless its filter must see the payload', async () => {
    const { redis } = await startScenario()
    const { publisher, consumer, seen, state } = aShop()
    const orders = publisher(redis)
    await orders.publishMany(['1', '2'].map((id) => [Filed, long(id)] as const))
    const group = (name: string, options: Partial<ConsumerOptions>) =>
      poll(consumer({ group: name, ...options }), { redis })
    const other = [on(defineEvent('Other', { payload: z.object({}) }), () => {})]

    expect(await group('ignores', { routes: other, unrouted: 'ignore' })).toMatchObject({ ignored: 2 })
    expect(await group('parks', { routes: other, unrouted: 'park' })).toMatchObject({ parked: 2 })
    expect(state.fetched).toBe(0)
    const filter = filterPatterns([{ payload: { id: ['2'] } }])
    expect(await group('filters', { filter })).toMatchObject({ ignored: 1, acked: 1 })
    expect([state.fetched, seen]).toEqual([2, [long('2')]])
  })
})

describe('a payload that is not there', () => {
  it.each([
    ['is gone', (store: MemoryStore, key: string) => void store.delete(key), /the store has none$/],
    [
      'is another one',
      (store: MemoryStore, key: string) => void (store.payloads.get(key) as Buffer).fill('x'),
      /what the store has is another one$/,
    ],
  ])(
    '%s: a dead letter, malformed, at the first delivery, that a redrive brings back',
    async (_how, spoil, message) => {
      const scenario = await startScenario()
      const { redis, deadLetters } = scenario
      const { publisher, consumer, seen, store } = aShop()
      await publisher(redis).publish(Filed, long('1'))
      const [[key, bytes] = ['', new Uint8Array()]] = [...store.payloads].map(
        ([key, bytes]) => [key, Uint8Array.from(bytes)] as const,
      )
      spoil(store, key)

      expect(counts(await poll(consumer(), { redis }))).toMatchObject({ read: 1, deadLettered: 1 })
      const [letter] = await deadLetters()
      const head = letter?.head
      expect(head).toMatchObject({
        reason: 'malformed',
        errorName: 'PayloadGoneError',
        eventType: 'Filed',
        deliveryCount: '1',
      })
      expect(head?.errorMessage).toMatch(message)
      expect(JSON.stringify(await deadLetters())).not.toContain(SECRET)
      await store.put(key, bytes, { retentionMs: undefined, signal: new AbortController().signal })
      await redriveDeadLetters(consumer(), { redis, all: true })
      await claimOnce(consumer(), { redis })
      expect(seen).toEqual([long('1')])
    },
  )

  it('is larger than maxBytes: it is not fetched', async () => {
    const { redis } = await startScenario()
    const { publisher, consumer, codec } = aShop()
    await publisher(redis).publish(Filed, long('1'))
    const careful = aShop({ maxBytes: 300 })

    await expect(careful.publisher(redis).publish(Filed, long('1'))).rejects.toThrow(
      /^Cannot publish "Filed": its payload must have at most 300 bytes, got \d+$/,
    )
    expect(await poll(careful.consumer(), { redis })).toMatchObject({ deadLettered: 1 })
    expect(careful.state.fetched).toBe(0)
    expect([codec.typeField, consumer().codec === codec]).toEqual(['eventType', true])
  })

  it('and cannot be fetched: a failure that is retried, at last a dead letter', async () => {
    const { redis, deadLetters } = await startScenario()
    const { publisher, consumer, seen, state } = aShop()
    await publisher(redis).publishMany(['1', '2'].map((id) => [Filed, long(id)] as const))
    state.failure = new Error('SlowDown')
    const twice = consumer({ maxDeliveries: 2, batchSize: 1, mode: 'once' })

    expect(await poll(twice, { redis })).toMatchObject({ read: 1, retried: 1, invoked: 0 })
    expect(await claimOnce(twice, { redis })).toMatchObject({ claimed: 1, deadLettered: 1 })
    expect((await deadLetters())[0]?.head).toMatchObject({
      reason: 'max-deliveries',
      errorName: 'PayloadStoreError',
      eventType: 'Filed',
    })
    expect(await poll(twice, { redis })).toMatchObject({ read: 1, retried: 1 })
    state.failure = undefined
    expect(await claimOnce(twice, { redis })).toMatchObject({ claimed: 1, acked: 1 })
    expect(seen).toEqual([long('2')])
  })

  it.each([[], [idempotent({ ttlMs: 60_000 })]])(
    'and does not come: its fetch is aborted when the handler time is over (%o)',
    async (...use) => {
      const { redis } = await startScenario()
      const aborted: unknown[] = []
      const hangs: PayloadStore = {
        put: async () => {},
        get: (_key, { signal }) =>
          new Promise((_resolve, reject) => {
            signal.addEventListener('abort', () => {
              aborted.push(signal.reason)
              reject(signal.reason as Error)
            })
          }),
      }
      const { publisher, consumer, seen } = aShop({ store: hangs })
      await publisher(redis).publish(Filed, long('1'))

      const report = await poll(consumer({ handlerTimeoutMs: 50, minIdleMs: 6_000, use }), { redis })
      expect(report).toMatchObject({ read: 1, retried: 1, overran: 0 })
      expect([seen, aborted]).toEqual([[], [expect.objectContaining({ code: 'ERR_HANDLER_TIMEOUT' })]])
    },
  )
})

describe('a store of another make', () => {
  const never = () => new Promise<never>(() => {})

  /** What becomes of an event whose payload a store gives back like that; a handler is called where the answer is the payload. */
  async function pollWith(get: (bytes: Uint8Array) => unknown, use: ConsumerOptions['use'] = []) {
    const redis = connectMemory()
    const kept = memoryStore()
    const given = (key: string) => get(kept.payloads.get(key) as Uint8Array)
    const { publisher, consumer, seen } = aShop({ store: { put: kept.put, get: given as PayloadStore['get'] } })
    await publisher(redis).publish(Filed, { id: 'ä', text: 'ö'.repeat(200) })
    const { acked, retried, deadLettered, overran } = await poll(
      consumer({ handlerTimeoutMs: 50, minIdleMs: 6_000, maxDeliveries: 1, use }),
      {
        redis,
      },
    )
    const [letter] = redis.entries('{orders}:billing:dlq').map(({ fields }) => Object.fromEntries(fields))
    return { acked, retried, deadLettered, overran, called: seen.length, errorName: letter?.errorName }
  }
  const failed = { acked: 0, retried: 0, deadLettered: 1, overran: 0, called: 0 }

  it.each<[string, (bytes: Uint8Array) => unknown]>([
    ['text', async (bytes) => Buffer.from(bytes).toString()],
    ['an ArrayBuffer', async (bytes) => Uint8Array.from(bytes).buffer],
    ['a number', async () => 5],
    ['what has a length', async () => ({ length: 3 })],
    [
      'an error, thrown at once',
      () => {
        throw new Error('no connection')
      },
    ],
  ])('that gives %s has failed: it is retried, never malformed', async (_what, get) => {
    expect(await pollWith(get)).toEqual({ ...failed, errorName: 'PayloadStoreError' })
  })

  it('gives null for what it has not, and bytes without a promise', async () => {
    expect(await pollWith(async () => null)).toEqual({ ...failed, errorName: 'PayloadGoneError' })
    expect(await pollWith((bytes) => bytes)).toMatchObject({ acked: 1, called: 1 })
  })

  it.each([[], [idempotent({ ttlMs: 600_000 })]])(
    'that ignores its signal is waited for no longer than that (%o)',
    async (...use) => {
      expect(await pollWith(never, use)).toEqual({ ...failed, errorName: 'HandlerTimeoutError' })
    },
  )

  it('that keeps for ever at it holds up no other event', async () => {
    const redis = connectMemory()
    let puts = 0
    const store: PayloadStore = { put: () => (++puts > 16 ? Promise.resolve() : never()), get: async () => undefined }
    const orders = aShop({ store, putTimeoutMs: 20 }).publisher(redis)
    const ids = Array.from({ length: 17 }, (_, n) => String(n))
    const outcomes = await Promise.allSettled(ids.map((id) => orders.publish(Filed, long(id))))

    expect(outcomes.map(({ status }) => status)).toEqual([...Array(16).fill('rejected'), 'fulfilled'])
    expect(outcomes[0]).toMatchObject({ reason: { code: 'ERR_PAYLOAD_STORE', cause: { name: 'TimeoutError' } } })
  })
})

describe('a payload that cannot be kept', () => {
  it('is refused by publish, of many all, and nothing is published', async () => {
    const { redis, raw } = await startScenario()
    const { publisher, state } = aShop()
    state.failure = new Error('AccessDenied')
    const orders = publisher(redis)
    const many = [[Filed, { id: 'small', text: '' }] as const, [Filed, long('1')] as const]

    for (const attempt of [
      orders.publish(Filed, long('1')),
      orders.publish(Filed, long('1'), { delayMs: 0 }),
      orders.publishMany(many),
    ]) {
      const error = await attempt.catch((error: unknown) => error)
      expect(error).toBeInstanceOf(PayloadStoreError)
      expect(error).toMatchObject({
        message: 'Cannot keep the payload of "Filed": its store failed',
        cause: state.failure,
      })
    }
    expect(await raw.exists('orders', '{orders}:delayed')).toBe(0)
  })

  it('is put for no event of a request that is refused', async () => {
    const { publisher, store } = aShop()
    const many = [[Filed, long('1')] as const, [Filed, { id: 7 } as never] as const]

    await expect(publisher(connectMemory()).publishMany(many)).rejects.toMatchObject({ code: 'ERR_PAYLOAD_INVALID' })
    expect(store.payloads.size).toBe(0)
  })

  it.each(['on', 'onBatch'])('fails the handler that published it as an effect: %s', async (how) => {
    const scenario = await startScenario()
    const { redis } = scenario
    const { publisher, consumer, state, store, codec } = aShop()
    const ledger = createPublisher({ stream: '{orders}:ledger', redis, codec })
    const one: EventHandler = (_event, context) => void effects(context).publish(ledger, Filed, long('booked'))
    const route =
      how === 'on'
        ? on(Any, one)
        : onBatch(Any, (_events, context) => void effects(context).publish(ledger, Filed, long('booked')))
    const booking = consumer({ routes: [route] })
    await publisher(redis).publish(Any, 1)
    state.failure = new Error('down')
    const failed = await poll(booking, { redis })
    const before = await scenario.raw.exists('{orders}:ledger')
    state.failure = undefined
    const done = await claimOnce(booking, { redis })

    expect([failed, before]).toMatchObject([{ retried: 1, failed: 1, acked: 0 }, 0])
    expect([done.acked, await scenario.raw.xlen('{orders}:ledger'), store.payloads.size]).toEqual([1, 1, 1])
    const reader = consumer({ stream: '{orders}:ledger' })
    expect(await poll(reader, { redis })).toMatchObject({ acked: 1 })
  })

  it('is waited for before what was published as an effect is there', async () => {
    const { redis, raw } = await startScenario()
    const stored = Promise.withResolvers<void>()
    const put = Promise.withResolvers<void>()
    const slow: PayloadStore = {
      put: () => {
        put.resolve()
        return stored.promise
      },
      get: async () => undefined,
    }
    const { publisher, consumer, codec } = aShop({ store: slow })
    const ledger = createPublisher({ stream: '{orders}:ledger', redis, codec })
    const route = on(Any, (_event, context) => void effects(context).publish(ledger, Filed, long('booked')))
    await publisher(redis).publish(Any, 1)
    const polling = poll(consumer({ routes: [route] }), { redis })
    await put.promise
    const during = await raw.exists('{orders}:ledger')
    stored.resolve()

    expect(await polling).toMatchObject({ acked: 1 })
    expect([during, await raw.xlen('{orders}:ledger')]).toEqual([0, 1])
  })
})

describe('how long a payload is kept', () => {
  const DAY = 86_400_000

  it('is given to the store, with every publication of it', async () => {
    const { publisher, store } = aShop({ retentionMs: 7 * DAY })
    const orders = publisher(connectMemory())
    await orders.publish(Filed, long('1'))

    expect([...store.retentions.values()]).toEqual([7 * DAY])
    store.delete([...store.payloads.keys()][0] as string)
    await orders.publish(Filed, long('1'))
    expect(store.payloads.size).toBe(1)
  })

  it('is no shorter than the publisher keeps entries, delays included', async () => {
    const redis = connectMemory()
    const { codec } = aShop({ retentionMs: 7 * DAY })
    const make = (retentionMs: number) => createPublisher({ stream: 'orders', redis, codec, retentionMs })

    expect(() => make(8 * DAY)).toThrow(
      'Cannot create publisher for stream "orders": retentionMs of claimCheck must be >= the time for which an entry is kept, delay included, got 604800000 and 691200000',
    )
    const orders = make(7 * DAY)
    await expect(orders.publish(Filed, long('1'), { delayMs: 1 })).rejects.toThrow(/got 604800000 and 604800001$/)
    await expect(orders.publish(Filed, long('1'), { deliverAt: new Date(Date.now() + DAY) })).rejects.toThrow(
      RangeError,
    )
    await expect(orders.publish(Filed, { id: 'small', text: '' }, { delayMs: DAY })).resolves.toBeDefined()
  })
})

describe('claimCheck() refuses', () => {
  const store = memoryStore()
  it.each<[string, object]>([
    ['store must have put and get, as s3Store has', {}],
    [
      'unknown option "bucket"; known are store, overBytes, maxBytes, retentionMs, putTimeoutMs, codec',
      { store, bucket: 'b' },
    ],
    ['overBytes must be >= 0, got -1', { store, overBytes: -1 }],
    ['maxBytes must be >= 1, got 0', { store, maxBytes: 0 }],
    ['retentionMs must be >= 1, got 0', { store, retentionMs: 0 }],
    ['putTimeoutMs must be >= 1, got 0', { store, putTimeoutMs: 0 }],
    ['codec must have decode and encode', { store, codec: { decode() {} } }],
    ['codec must keep its payloads in the entry', { store, codec: claimCheck({ store }) }],
  ])('what it cannot work with: %s', (message, options) => {
    expect(() => claimCheck(options as never)).toThrow(`Cannot make claimCheck: ${message}`)
  })
})
