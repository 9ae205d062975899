import { createServer } from 'node:net'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ConsumerKeys } from '../../src/core/keys.ts'
import {
  aggregateKey,
  consumerKeys,
  delayKeys,
  hashSlot,
  hashTag,
  PARKED_CONSUMER,
  publishedKey,
} from '../../src/core/keys.ts'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'

const namesOf = ({ stream, deadLetters, due, state, slot }: ConsumerKeys) => ({
  stream,
  deadLetters,
  due,
  state,
  slot: slot('poller-0'),
})
const allKeys = (keys: ConsumerKeys) => Object.values(namesOf(keys))

/** Names with braces, colons, percent signs and any other characters, the troublesome ones often. */
const troublesome = fc.string({ unit: fc.constantFrom('{', '}', ':', '%', 'a', 'é', '🦊', '3', 'A'), minLength: 1 })
const anyName = fc.oneof(
  troublesome,
  fc.string({ unit: 'binary', minLength: 1 }),
  fc.tuple(troublesome, troublesome, troublesome).map(([a, b, c]) => `${a}{${b}}${c}`),
)

describe('consumerKeys()', () => {
  test('names the keys of a group behind the hash tag of its stream', () => {
    expect(namesOf(consumerKeys('orders', 'billing'))).toEqual({
      stream: 'orders',
      deadLetters: '{orders}:billing:dlq',
      due: '{orders}:billing:due',
      state: '{orders}:billing:state',
      slot: '{orders}:billing:slot:poller-0',
    })
  })

  test('keeps the hash tag that a stream brings', () => {
    expect(namesOf(consumerKeys('{shop}:orders', 'billing'))).toEqual({
      stream: '{shop}:orders',
      deadLetters: '{shop}:orders:billing:dlq',
      due: '{shop}:orders:billing:due',
      state: '{shop}:orders:billing:state',
      slot: '{shop}:orders:billing:slot:poller-0',
    })
  })

  test('takes another dead-letter stream as it is', () => {
    expect(namesOf(consumerKeys('orders', 'billing', '{orders}:failed'))).toEqual({
      ...namesOf(consumerKeys('orders', 'billing')),
      deadLetters: '{orders}:failed',
    })
  })

  test('writes a colon and a percent sign of a group as in a URL', () => {
    expect(consumerKeys('orders', 'a:b%3A').due).toBe('{orders}:a%3Ab%253A:due')
  })

  test.each(['}', 'a}b', 'a}{b', '{}', '{}orders', 'a{}b', '{}{orders}'])(
    'refuses the stream %j: no other key can share its hash slot',
    (stream) => {
      expect(() => consumerKeys(stream, 'billing')).toThrow(
        new TypeError(
          `Cannot name keys for stream ${JSON.stringify(stream)}: a name with "}" must carry a hash tag that is not empty, ` +
            'as in "{shop}:orders"; otherwise no other key can share its hash slot',
        ),
      )
    },
  )

  test('gives two groups of a stream no key in common', () => {
    fc.assert(
      fc.property(troublesome, troublesome, (a, b) => {
        fc.pre(a !== b)
        const ofB = new Set(allKeys(consumerKeys('orders', b)))
        expect(allKeys(consumerKeys('orders', a)).filter((key) => ofB.has(key))).toEqual(['orders'])
      }),
    )
  })

  test('gives a group five different keys, whatever the names', () => {
    fc.assert(
      fc.property(troublesome, (group) => {
        expect(new Set(allKeys(consumerKeys('{shop}:orders', group))).size).toBe(5)
      }),
    )
  })
})

describe('in a cluster', () => {
  let server: PrivateRedis
  let redis: Redis

  beforeAll(async () => {
    server = await startRedisServer({ args: ['--cluster-enabled', 'yes'], port: await findClusterPort() })
    redis = new Redis(server.url, { enableReadyCheck: false })
  })

  afterAll(async () => {
    redis.disconnect()
    await server.stop()
  })

  const keySlots = (keys: readonly string[]): Promise<number[]> =>
    Promise.all(keys.map((key) => redis.cluster('KEYSLOT', key)))

  test("every key of a consumer shares its stream's hash slot, or the stream's braces are refused", async () => {
    await fc.assert(
      fc.asyncProperty(anyName, anyName, async (stream, group) => {
        const keys = namedOrRefused(stream, group)
        if (keys === undefined) {
          expect([stream.includes('}'), hashTag(stream)]).toEqual([true, stream])
          return
        }
        const [slot, ...others] = await keySlots(allKeys(keys))
        expect(others).toEqual([slot, slot, slot, slot])
      }),
      { numRuns: 500 },
    )
  })

  test('hashSlot() is what CLUSTER KEYSLOT answers', async () => {
    const key = fc.oneof(
      anyName,
      fc.constantFrom('', '{}', '{a}', 'a{b}c{d}', 'foo{}{bar}', 'foo{{bar}}zap', '123456789'),
    )
    await fc.assert(
      fc.asyncProperty(key, async (name) => {
        expect([hashSlot(name)]).toEqual(await keySlots([name]))
      }),
      { numRuns: 500 },
    )
  })
})

/** A free port whose bus port, 10,000 above it, is free as well; below those that the system gives to others. */
async function findClusterPort(): Promise<number> {
  for (;;) {
    const port = 12_000 + Math.floor(Math.random() * 10_000)
    if ((await isFree(port)) && (await isFree(port + 10_000))) return port
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}

/** The keys, or nothing where the stream's name is refused. */
function namedOrRefused(stream: string, group: string): ConsumerKeys | undefined {
  try {
    return consumerKeys(stream, group)
  } catch (error) {
    expect(error).toBeInstanceOf(TypeError)
    return undefined
  }
}

describe('delayKeys()', () => {
  test.each([
    ['orders', '{orders}:delayed'],
    ['{shop}:orders', '{shop}:orders:delayed'],
  ])('of stream %s lie in its hash slot', (stream, delayed) => {
    const keys = delayKeys(stream)

    expect(keys).toEqual({
      stream,
      delayed,
      events: `${delayed}:events`,
      next: `${delayed}:next`,
      ended: [`${delayed}:ended:0`, `${delayed}:ended:1`],
    })
    const slots = [keys.delayed, keys.events, keys.next, ...keys.ended].map(hashSlot)
    expect(new Set(slots)).toEqual(new Set([hashSlot(stream)]))
  })

  test.each(['delayed', 'delayed:events', 'delayed:ended', ''])('share no key with a group named %j', (group) => {
    const { slot, marker, failures, rate, places, ...keys } = consumerKeys('orders', group)
    const ofGroup = [
      ...Object.values(keys),
      slot('poller-0'),
      slot('0'),
      marker('0'),
      marker(''),
      failures(''),
      rate(''),
      places(''),
    ]
    const { delayed, events, next, ended } = delayKeys('orders')

    expect(ofGroup.filter((key) => [delayed, events, next, ...ended].includes(key))).toEqual([])
  })
})

describe('aggregateKey()', () => {
  test.each([
    ['orders', 'order', 'o-1', '{orders}::aggregate::order:o-1'],
    ['orders', undefined, 'o-1', '{orders}::aggregate:::o-1'],
    ['orders', undefined, undefined, '{orders}::aggregate:::'],
    ['{shop}:orders', 'a:b', 'x:y', '{shop}::aggregate:%%3Aorders:a%3Ab:x:y'],
  ])('of stream %j, type %j and id %j is %s', (stream, type, id, key) => {
    expect(aggregateKey(stream, type, id)).toBe(key)
  })
})

describe('publishedKey()', () => {
  test.each([
    ['orders', '{orders}::published::e-1'],
    ['{orders}', '{orders}::published:%:e-1'],
    ['{orders}:', '{orders}::published:%%3A:e-1'],
    ['{shop}:orders', '{shop}::published:%%3Aorders:e-1'],
    ['{shop}25', '{shop}::published:%25:e-1'],
    ['{shop}a', '{shop}::published:%a:e-1'],
    ['a{shop}', '{shop}::published:%a{}:e-1'],
    ['{shop}é \ud800', '{shop}::published:%%C3%A9%20%EF%BF%BD:e-1'],
  ])('of stream %s lies in its hash slot, and is that of no other stream', (stream, key) => {
    expect(publishedKey(stream, 'e-1')).toBe(key)
    expect(hashSlot(key)).toBe(hashSlot(stream))
  })

  /** Streams of one hash tag, with troublesome names around it. */
  const around = fc.string({ unit: fc.constantFrom(':', '%', '{', '}', 'a', '3', 'A', '2', '5', 'B', 'D', 'é') })
  const oddStream = fc.oneof(
    fc.constantFrom('t', '{t}', '{t}:', '{t}::', '{t}:published', '{t}::publishe', '{t}::a'),
    fc.tuple(around, around).map(([a, b]) => `${a.replaceAll('{', '')}{t}${b}`),
  )
  const oddId = fc.oneof(troublesome, fc.constantFrom('dlq', 'due', ':dlq', '%:e', '%%3A:e', ':e', 'e'), around)

  test('is that of one stream and one id, whatever the names', () => {
    fc.assert(
      fc.property(oddStream, oddId, oddStream, oddId, (stream, eventId, other, otherId) => {
        fc.pre(stream !== other || eventId !== otherId)

        expect(publishedKey(stream, eventId)).not.toBe(publishedKey(other, otherId))
      }),
      { numRuns: 5_000 },
    )
  })

  test('is no key of a group or of delayed events, of any stream with its tag', () => {
    const group = fc.oneof(fc.constantFrom('published', '%', ':', ':published:'), troublesome)
    fc.assert(
      fc.property(oddStream, group, oddStream, oddId, oddId, (stream, name, other, eventId, word) => {
        fc.pre(!other.startsWith('{t}::published'))
        const { slot, marker, failures, rate, places, ...keys } = consumerKeys(other, name)
        const { ended, ...delayed } = delayKeys(other)
        const of = [slot, marker, failures, rate, places].map((key) => key(word))
        const others = [...Object.values(keys), ...of, ...ended, ...Object.values(delayed)]

        expect(others.filter((key) => key !== other)).not.toContain(publishedKey(stream, eventId))
      }),
      { numRuns: 5_000 },
    )
  })
})

describe('hashTag()', () => {
  test.each([
    ['orders', 'orders'],
    ['{shop}:orders', 'shop'],
    ['a{b}c{d}', 'b'],
    ['{}orders', '{}orders'],
    ['foo{}{bar}', 'foo{}{bar}'],
    ['foo{{bar}}zap', '{bar'],
    ['a}b{c}', 'c'],
    ['{open', '{open'],
    ['', ''],
  ])('of %j is %j', (key, tag) => {
    expect(hashTag(key)).toBe(tag)
  })
})

test('PARKED is a name that no slot has', () => {
  expect(PARKED_CONSUMER).toBe('parked')
})
