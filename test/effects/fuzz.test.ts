import fc from 'fast-check'
import { Redis } from 'ioredis'
import type { Effects, HandlerContext } from 'millrace'
import { createPublisher, effects, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { connectMemory } from 'millrace/testing'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import { billing, OrderPaid } from '../support/consumer.ts'

// Effects must leave what the same commands leave that are sent one by one; or nothing, where one of these is refused. The same goes for memory.
const KEYS = ['{orders}:a', '{orders}:b', '{orders}:c']
const INTEGERS = [
  0n,
  1n,
  -1n,
  2n ** 63n - 1n,
  -(2n ** 63n),
  999_999_999n,
  1_000_000_000n,
  -1_000_000_001n,
  2n ** 62n,
  -(2n ** 62n) - 1n,
]
const TEXTS = [...INTEGERS.map(String), '9223372036854775808', '-0', '+1', '01', ' 1', '', 'x', '1e3', '1.0']

/** An effect, and the command that it stands for. */
interface Step {
  readonly ask: (e: Effects) => Effects
  readonly command: readonly [string, ...(string | number)[]]
}

const key = fc.constantFrom(...KEYS)
const member = fc.constantFrom('m', 'o')
const score = fc.constantFrom(1, 2.5, -7, 1e21, Infinity, -Infinity)
const by = fc.constantFrom(...INTEGERS)
const text = fc.constantFrom(...TEXTS)
const CONDITIONS = { greater: 'GT', less: 'LT', absent: 'NX', present: 'XX' } as const
const step: fc.Arbitrary<Step> = fc.oneof(
  fc
    .tuple(key, by)
    .map(([k, n]) => ({ ask: (e: Effects) => e.increment(k, n), command: ['INCRBY', k, String(n)] as const })),
  fc.tuple(key, member, by).map(([k, f, n]) => ({
    ask: (e: Effects) => e.incrementField(k, f, n),
    command: ['HINCRBY', k, f, String(n)] as const,
  })),
  fc.tuple(key, member, text).map(([k, f, v]) => ({
    ask: (e: Effects) => e.setFields(k, { [f]: v }),
    command: ['HSET', k, f, v] as const,
  })),
  fc
    .tuple(key, member)
    .map(([k, f]) => ({ ask: (e: Effects) => e.deleteFields(k, f), command: ['HDEL', k, f] as const })),
  fc.tuple(key, member).map(([k, m]) => ({ ask: (e: Effects) => e.addToSet(k, m), command: ['SADD', k, m] as const })),
  fc
    .tuple(key, member)
    .map(([k, m]) => ({ ask: (e: Effects) => e.removeFromSet(k, m), command: ['SREM', k, m] as const })),
  fc.tuple(key, member, score).map(([k, m, s]) => ({
    ask: (e: Effects) => e.addToSortedSet(k, m, s),
    command: ['ZADD', k, String(s).replace('Infinity', 'inf'), m] as const,
  })),
  fc.tuple(key, member, score, fc.constantFrom('greater', 'less', 'absent', 'present')).map(([k, m, s, condition]) => ({
    ask: (e: Effects) => e.addToSortedSet(k, m, s, { if: condition }),
    command: ['ZADD', k, CONDITIONS[condition], String(s).replace('Infinity', 'inf'), m] as const,
  })),
  fc.tuple(key, member, fc.constantFrom(1, -2, 0.5, 2 ** 53, 1e300)).map(([k, m, n]) => ({
    ask: (e: Effects) => e.incrementScore(k, m, n),
    command: ['ZINCRBY', k, String(n), m] as const,
  })),
  fc
    .tuple(key, member)
    .map(([k, m]) => ({ ask: (e: Effects) => e.removeFromSortedSet(k, m), command: ['ZREM', k, m] as const })),
  fc.tuple(key, fc.integer({ min: 1, max: 2 })).map(([k, n]) => ({
    ask: (e: Effects) => e.keepHighest(k, n),
    command: ['ZREMRANGEBYRANK', k, 0, -n - 1] as const,
  })),
  fc
    .tuple(key, member)
    .map(([k, m]) => ({ ask: (e: Effects) => e.addToHyperLogLog(k, m), command: ['PFADD', k, m] as const })),
  fc.tuple(key, text).map(([k, v]) => ({ ask: (e: Effects) => e.set(k, v), command: ['SET', k, v] as const })),
  fc.tuple(key).map(([k]) => ({ ask: (e: Effects) => e.expire(k, 60_000), command: ['PEXPIRE', k, 60_000] as const })),
  fc.tuple(key).map(([k]) => ({ ask: (e: Effects) => e.delete(k), command: ['DEL', k] as const })),
)
/** What is there before, in commands that memory knows as well. */
const before = fc.tuple(
  ...KEYS.map((k) =>
    fc.oneof(
      fc.constant([]),
      text.map((v) => [['SET', k, v]]),
      fc.tuple(text, text).map(([v, w]) => [['HSET', k, 'm', v, 'o', w]]),
      fc.constant([['ZADD', k, '1', 'm']]),
      fc.constant([['SADD', k, 'm']]),
      fc.constant([['PFADD', k, 'q']]),
    ),
  ),
)

let server: PrivateRedis
let raw: Redis
let redis: ReturnType<typeof connectIoredis>

beforeAll(async () => {
  server = await startRedisServer()
  raw = new Redis(server.url)
  redis = connectIoredis(server.url)
})

afterAll(async () => {
  await redis.close()
  raw.disconnect()
  await server.stop()
})

/** What the keys hold, byte for byte; the estimate that a HyperLogLog keeps of itself, and what its bytes are, is as the server likes. */
async function keysOnServer(): Promise<unknown[]> {
  return Promise.all(KEYS.map(async (k) => [(await raw.dumpBuffer(k))?.toString('hex'), (await raw.pttl(k)) > 0]))
}

/** Polls one entry whose handler asks for that. @returns Whether it was acknowledged; `undefined` if a call threw. */
async function carryOut(connection: typeof redis, steps: readonly Step[]): Promise<boolean | undefined> {
  let thrown = false
  const consumer = billing(((_event: unknown, context: HandlerContext) => {
    try {
      for (const { ask } of steps) ask(effects(context))
    } catch (error) {
      thrown = true
      throw error
    }
  }) as never)
  await createPublisher({ stream: 'orders', redis: connection }).publish(OrderPaid, { orderId: 'o-1' })
  const { acked } = await poll(consumer, { redis: connection })
  return thrown ? undefined : acked === 1
}

it('effects leave what their commands leave one by one, or nothing; memory decides the same', {
  timeout: 120_000,
}, async () => {
  let [fine, refused] = [0, 0]
  await fc.assert(
    fc.asyncProperty(before, fc.array(step, { minLength: 1, maxLength: 6 }), async (there, steps) => {
      await raw.flushall()
      const memory = connectMemory()
      const ask = memory.group(billing(() => {}))
      for (const [name = '', ...args] of there.flat()) await raw.call(name, args)
      await ask.ask(there.flat() as never)
      const was = await keysOnServer()
      const copies = await Promise.all(KEYS.map((k) => raw.dumpBuffer(k)))
      const replies = await raw
        .pipeline(steps.map(({ command: [name, ...args] }) => ['call', name, ...args] as never))
        .exec()
      const isRefused = replies?.some(([error]) => error) ?? false
      const wanted = isRefused ? was : await keysOnServer()
      await raw.del(...KEYS)
      for (const [n, copy] of copies.entries()) if (copy) await raw.restore(KEYS[n] ?? '', 0, copy)

      const isAcked = await carryOut(redis, steps)
      const inMemory = await carryOut(memory as never, steps)

      expect(inMemory).toBe(isAcked)
      if (isAcked !== undefined) expect(isAcked).toBe(!isRefused)
      expect(await keysOnServer()).toEqual(isAcked === undefined ? was : wanted)
      if (isAcked) fine++
      else refused++
    }),
    { numRuns: process.env.MILLRACE_TIER === 'fast' ? 250 : 1_000 },
  )

  expect([fine > 20, refused > 20]).toEqual([true, true])
})
