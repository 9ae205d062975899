import type { Connection, Consumer, ConsumerOptions } from 'millrace'
import {
  createPublisher,
  defineConsumer,
  defineEvent,
  NonRetryableError,
  on,
  orderedBy,
  poll,
  RedisConnectionError,
} from 'millrace'
import { connect as connectUrl } from 'millrace/connect'
import { connectIoredis } from 'millrace/ioredis'
import { dropDeadLetters, listDeadLetters, redriveDeadLetters } from 'millrace/operate'
import { describe, expect, it, onTestFinished } from 'vitest'
import * as z from 'zod/mini'
import { createRedisConnection } from '../../dist/group/redis/redis-connection.js'
import type { RedisCommand, Transport } from '../../src/group/redis/transport.ts'
import { claimOnce } from '../support/claim-once.ts'
import { startRestServer } from '../support/rest-server.ts'
import { DLQ, startScenario } from '../support/scenario.ts'

const Stepped = defineEvent('Stepped', { payload: z.object({ id: z.string() }) })
const LANES = '{orders}:billing:lanes'
const AWAITED = '{orders}:billing:awaited'

/** Group `billing` on a private server; the key of `a1` is `a`. What is hopeless fails for good. */
async function startSteps({ isOverRest = false } = {}) {
  const scenario = await startScenario()
  const redis = isOverRest ? await overRest(scenario.server.url) : scenario.redis
  const calls: string[] = []
  const hopeless = new Set<string>()
  const define = (afterDeadLetter: 'wait' | 'continue', options: Partial<ConsumerOptions> = {}): Consumer =>
    defineConsumer({
      stream: 'orders',
      group: 'billing',
      routes: [
        on(Stepped, ({ payload: { id } }) => {
          calls.push(id)
          if (hopeless.has(id)) throw new NonRetryableError('never')
        }),
      ],
      use: [orderedBy(({ aggregateId }) => aggregateId, { afterDeadLetter })],
      ...options,
    })
  const consumer = define('wait')
  const publisher = createPublisher({ stream: 'orders', redis })
  return {
    ...scenario,
    redis,
    calls,
    hopeless,
    define,
    consumer,
    publisher,
    publishSteps: (...ids: string[]) =>
      publisher.publishMany(ids.map((id) => [Stepped, { id }, { aggregateId: id[0] as string }] as const)),
    poll: (one = consumer) => poll(one, { redis }),
    claim: (one = consumer) => claimOnce(one, { redis }),
    redrive: (options = {}) => redriveDeadLetters(consumer, { redis, all: true, ...options }),
    drop: (options = {}) => dropDeadLetters(consumer, { redis, all: true, ...options }),
    ofKey: (key: string) => calls.filter((id) => id.startsWith(key)),
    left: async () => ((await scenario.raw.xpending('orders', 'billing')) as [number])[0],
  }
}

async function overRest(redisUrl: string): Promise<Connection> {
  const rest = await startRestServer({ redisUrl, token: 'secret' })
  const redis = connectUrl(rest.url.replace('://', '://:secret@'))
  onTestFinished(async () => {
    await redis.close()
    await rest.close()
  })
  return redis
}

describe.each([
  ['TCP', false],
  ['REST', true],
] as const)('a key that waits for its dead letter, over %s,', (_name, isOverRest) => {
  it('goes on behind the letter once that is redriven, with the next claimer', async () => {
    const { publishSteps, hopeless, poll, claim, redrive, calls, left } = await startSteps({ isOverRest })
    hopeless.add('a2')
    await publishSteps('a1', 'a2', 'a3', 'b1', 'a4')
    await poll()
    hopeless.clear()

    expect((await redrive()).redriven).toBe(1)
    for (let round = 0; round < 3; round++) await claim()

    expect(calls.filter((id) => id !== 'b1')).toEqual(['a1', 'a2', 'a2', 'a3', 'a4'])
    expect([calls.includes('b1'), await left()]).toEqual([true, 0])
  })

  it('goes on without the letter once that is dropped, with the next claimer', async () => {
    const { publishSteps, hopeless, poll, claim, drop, ofKey, left, raw } = await startSteps({ isOverRest })
    hopeless.add('a2')
    await publishSteps('a1', 'a2', 'a3', 'a4')
    await poll()

    expect((await drop()).dropped).toBe(1)
    for (let round = 0; round < 3; round++) await claim()

    expect(ofKey('a')).toEqual(['a1', 'a2', 'a3', 'a4'])
    expect([await left(), await raw.exists(LANES), await raw.exists(AWAITED)]).toEqual([0, 0, 0])
  })
})

describe('letters of a key', () => {
  it('hold it up again where the redriven entry fails again', async () => {
    const { publishSteps, hopeless, poll, claim, redrive, ofKey, left } = await startSteps()
    hopeless.add('a1')
    await publishSteps('a1', 'a2')
    await poll()
    await redrive()
    await claim()
    await claim()
    await poll()

    expect(ofKey('a')).toEqual(['a1', 'a1'])
    hopeless.clear()
    await redrive()
    for (let round = 0; round < 2; round++) await claim()
    expect([ofKey('a'), await left()]).toEqual([['a1', 'a1', 'a1', 'a2'], 0])
  })

  it('go in the order of their entries where several are redriven together', async () => {
    const { publishSteps, hopeless, define, poll, claim, redrive, ofKey } = await startSteps()
    for (const id of ['a1', 'a2', 'a3']) hopeless.add(id)
    await publishSteps('a1', 'a2', 'a3')
    await poll(define('continue'))
    await publishSteps('a4', 'a5')
    hopeless.add('a4')
    await poll()
    expect(ofKey('a')).toEqual(['a1', 'a2', 'a3', 'a4'])
    hopeless.clear()

    await redrive()
    await poll()
    for (let round = 0; round < 3; round++) await claim()

    expect(ofKey('a').slice(4)).toEqual(['a1', 'a2', 'a3', 'a4', 'a5'])
  })

  it('go before the one that their key waits for, which it goes on waiting for', async () => {
    const { publishSteps, hopeless, define, poll, claim, redrive, drop, ofKey, raw, left } = await startSteps()
    hopeless.add('a1')
    await publishSteps('a1')
    await poll(define('continue'))
    hopeless.add('a2')
    await publishSteps('a2', 'a3')
    await poll()
    const [[first]] = (await raw.xrange(DLQ, '-', '+')) as unknown as [[string]]

    // it fails once more: the key waits for both
    await redrive({ ids: [first] })
    for (let round = 0; round < 2; round++) await claim()
    expect(ofKey('a')).toEqual(['a1', 'a2', 'a1'])
    expect(await raw.zcard(AWAITED)).toBe(2)
    hopeless.clear()
    const [, [again]] = (await raw.xrange(DLQ, '-', '+')) as [unknown, [string]]
    await redrive({ ids: [again] })
    for (let round = 0; round < 2; round++) await claim()
    expect(ofKey('a')).toEqual(['a1', 'a2', 'a1', 'a1'])
    await drop()
    await claim()
    expect([ofKey('a'), await left()]).toEqual([['a1', 'a2', 'a1', 'a1', 'a3'], 0])
  })

  it('let their key go on where a trimmed entry is published anew, which then comes last', async () => {
    const { publishSteps, hopeless, poll, claim, redrive, calls, raw } = await startSteps()
    hopeless.add('a1')
    await publishSteps('a1', 'a2')
    await poll()
    hopeless.clear()
    await raw.xtrim('orders', 'MAXLEN', 1)
    expect((await redrive()).trimmed).toBe(1)
    await claim()
    expect(calls).toEqual(['a1'])

    expect((await redrive({ republish: 'all' })).republished).toBe(1)
    await poll()
    for (let round = 0; round < 3; round++) await claim()

    expect(calls).toEqual(['a1', 'a2', 'a1'])
  })

  it('are dropped also where there is no group any more', async () => {
    const { publishSteps, hopeless, poll, claim, drop, raw, ofKey } = await startSteps()
    hopeless.add('a1')
    await publishSteps('a1', 'a2')
    await poll()
    await claim()
    await raw.xgroup('DESTROY', 'orders', 'billing')

    expect((await drop()).dropped).toBe(1)
    for (let round = 0; round < 2; round++) {
      await poll()
      await claim()
    }
    expect(ofKey('a')).toEqual(['a1', 'a2'])
  })

  it('say their key, by which they are found', async () => {
    const { publishSteps, publisher, hopeless, poll, drop, consumer, redis } = await startSteps()
    const long = 'ä%\n'.repeat(80)
    for (const id of ['a1', 'b1', 'long', 'none']) hopeless.add(id)
    await publishSteps('a1', 'b1')
    await publisher.publish(Stepped, { id: 'long' }, { aggregateId: long })
    await publisher.publish(Stepped, { id: 'none' })
    await poll()
    const keys = async (orderingKeys?: string[]) => {
      const found: unknown[] = []
      for await (const letter of listDeadLetters(consumer, { redis, ...(orderingKeys && { orderingKeys }) }))
        found.push('orderingKey' in letter ? letter.orderingKey : 'unreadable')
      return found
    }

    expect(new Set(await keys())).toEqual(
      new Set(['a', 'b', expect.stringMatching(/^ä%\nä%\n.*~[0-9a-f]{40}$/s), undefined]),
    )
    expect(await keys(['b', 'c'])).toEqual(['b'])
    expect(await keys([long])).toHaveLength(1)
    expect((await drop({ all: undefined, orderingKeys: ['a', long] })).dropped).toBe(2)
  })

  it('are found also where it looks like one that was cut, and hashed', async () => {
    const { publisher, hopeless, poll, drop } = await startSteps()
    const key = `${'k'.repeat(179)}~${'0'.repeat(40)}`
    hopeless.add('a1')
    await publisher.publish(Stepped, { id: 'a1' }, { aggregateId: key })
    await poll()

    expect((await drop({ all: undefined, orderingKeys: [key] })).dropped).toBe(1)
  })
})

describe('a key waits for the letter of an entry', () => {
  const letterOf = async ({ deadLetters }: Awaited<ReturnType<typeof startSteps>>) => (await deadLetters())[0]?.head

  it('whose time was over', async () => {
    const steps = await startSteps()
    const { define, raw, publishSteps, claim, ofKey, redis } = steps
    const consumer = define('wait', { maxAgeMs: 60_000 })
    await raw.xadd('orders', '1-1', 'eventType', 'Stepped', 'aggregateId', 'a', 'payload', '{"id":"a1"}')
    await publishSteps('a2')
    for (let round = 0; round < 2; round++) {
      await poll(consumer, { redis })
      await claim(consumer)
    }

    expect(await letterOf(steps)).toMatchObject({ reason: 'expired', orderingKey: 'a', originalId: '1-1' })
    expect(ofKey('a')).toEqual([])
  })

  it('whose deliveries are used up by deaths, though nobody read it again', async () => {
    const steps = await startSteps()
    const { define, raw, publishSteps, claim, ofKey, redis } = steps
    const consumer = define('wait', { maxDeliveries: 2 })
    await poll(consumer, { redis })
    const [a1] = (await publishSteps('a1', 'a2')) as unknown as [{ entryId: string }]
    await raw.xreadgroup('GROUP', 'billing', 'poller-0', 'COUNT', 2, 'STREAMS', 'orders', '>')
    await raw.xclaim('orders', 'billing', 'poller-0', 0, a1.entryId, 'RETRYCOUNT', 2, 'JUSTID')
    for (let round = 0; round < 3; round++) {
      await poll(consumer, { redis })
      await claim(consumer)
    }

    expect(await letterOf(steps)).toMatchObject({ reason: 'crashed', orderingKey: 'a', originalId: a1.entryId })
    expect(ofKey('a')).toEqual([])
  })
})

describe('a letter that cannot be written', () => {
  it('has nothing behind it set aside where its key is denied', async () => {
    const { publishSteps, calls, define, claim, raw, redis } = await startSteps()
    const others = ['lanes', 'lane-of', 'awaited', 'slot:*', 'due', 'waiting', 'state', 'paused', 'wake']
    const keys = ['orders', ...others.map((name) => `{orders}:billing:${name}`)]
    const consumer = define('wait', {
      routes: [
        on(Stepped, async ({ payload: { id } }) => {
          calls.push(id)
          if (id !== 'a1') return
          if (calls.length === 1)
            await raw.call('ACL', 'SETUSER', 'default', 'resetkeys', ...keys.map((key) => `~${key}`))
          throw new NonRetryableError('never')
        }),
      ],
    })
    await publishSteps('a1', 'a2', 'b1')

    await expect(poll(consumer, { redis })).rejects.toThrow('NOPERM')
    await claim(consumer).catch(() => {})
    expect(calls).toEqual(['a1', 'b1'])
    await raw.call('ACL', 'SETUSER', 'default', 'allkeys')
    await poll(consumer, { redis })
    for (let round = 0; round < 2; round++) await claim(consumer)

    expect(calls).toEqual(['a1', 'b1', 'a1'])
    expect(await raw.xlen(DLQ)).toBe(1)
  })

  it('keeps its key waiting until it is', async () => {
    const { publishSteps, hopeless, poll, claim, raw, age, ofKey } = await startSteps()
    hopeless.add('a1')
    await publishSteps('a1', 'a2')
    await raw.set(DLQ, 'no stream')
    await poll().catch(() => {})
    await claim().catch(() => {})
    expect(ofKey('a')).toEqual(['a1'])
    await raw.del(DLQ)
    await age(61_000)
    await claim()
    await claim()

    expect([ofKey('a'), await raw.xlen(DLQ)]).toEqual([['a1', 'a1'], 1])
  })
})

describe('answers that are lost', () => {
  it.each([1, 2, 3, 4, 5, 6])('keep a key waiting for its letter, and have it go on, request %i', async (nth) => {
    const {
      publishSteps,
      hopeless,
      consumer,
      poll: pollOn,
      claim,
      drop,
      server,
      raw,
      ofKey,
      left,
      age,
    } = await startSteps()
    hopeless.add('a2')
    await pollOn()
    await publishSteps('a1', 'a2', 'a3', 'b1', 'a4')
    const lossy = loseAnswer(server.url, nth)
    for (const _run of ['first', 'second']) {
      await poll(consumer, { redis: lossy }).catch(() => {})
      await raw.del('{orders}:billing:slot:poller-0')
      await age(120_000)
      await claim()
    }
    for (let round = 0; round < 3; round++) {
      await pollOn()
      await claim()
    }
    expect(new Set(ofKey('a'))).toEqual(new Set(['a1', 'a2']))
    expect(await left()).toBe(2)

    await drop()
    for (let round = 0; round < 3; round++) await claim()
    expect([ofKey('a').slice(-2), await left()]).toEqual([['a3', 'a4'], 0])
  })
})

/** A connection that loses the answer to one of its requests. */
function loseAnswer(url: string, nth: number): Connection {
  const inner = connectIoredis(url) as Connection & { readonly transport: Transport }
  onTestFinished(() => inner.close())
  let requests = 0
  return createRedisConnection({
    scriptPrefix: inner.transport.scriptPrefix,
    async send(commands: readonly RedisCommand[], timeoutMs?: number) {
      const answers = await inner.transport.send(commands, timeoutMs)
      if (++requests === nth) throw new RedisConnectionError('the answer was lost')
      return answers
    },
    close: async () => {},
  } as never)
}

describe('keys of lanes that somebody deletes while letters are awaited', () => {
  const LANE_OF = '{orders}:billing:lane-of'

  it.each([
    ['the first members', LANES],
    ['the letters', AWAITED],
    ['the lanes of members', LANE_OF],
  ])('let all go on once the letters are dropped, with the next poller: %s', async (_what, key) => {
    const { publishSteps, hopeless, poll, claim, drop, ofKey, left, raw } = await startSteps()
    for (const id of ['a1', 'b1', 'c2']) hopeless.add(id)
    await publishSteps('a1', 'b1', 'c1', 'c2', 'a2', 'b2', 'c3', 'a3')
    await poll()
    await raw.del(key)

    await drop()
    await poll()
    for (let round = 0; round < 5; round++) await claim()

    expect([ofKey('a'), ofKey('b'), ofKey('c')]).toEqual([
      ['a1', 'a2', 'a3'],
      ['b1', 'b2'],
      ['c1', 'c2', 'c3'],
    ])
    expect([await left(), await raw.exists(LANES, AWAITED, LANE_OF)]).toEqual([0, 0])
  })

  it('have nothing start before a first one that is set aside, or whose letter is there', async () => {
    const { publishSteps, hopeless, define, poll, claim, ofKey, raw, redrive, age } = await startSteps()
    const later = define('wait', {
      routes: [
        on(Stepped, ({ payload: { id } }) => {
          if (id === 'a1') throw new Error('later')
          throw new NonRetryableError('never')
        }),
      ],
      backoff: { firstMs: 60_000, factor: 1, maxMs: 60_000 },
    })
    await publishSteps('a1', 'b1', 'a2', 'b2', 'a3')
    await poll(later)
    await raw.del(LANES)

    await poll()
    for (let round = 0; round < 2; round++) await claim()
    expect([ofKey('a'), ofKey('b')]).toEqual([[], []])

    hopeless.clear()
    await redrive()
    await age(61_000)
    for (let round = 0; round < 4; round++) await claim()
    expect([ofKey('a'), ofKey('b')]).toEqual([
      ['a1', 'a2', 'a3'],
      ['b1', 'b2'],
    ])
  })

  it('are found of many lanes, by some runs', { timeout: 60_000 }, async () => {
    const { publisher, hopeless, poll, claim, drop, left, raw } = await startSteps()
    hopeless.add('first')
    const keys = Array.from({ length: 250 }, (_, n) => `key${n}`)
    for (const id of ['first', 'second'])
      await publisher.publishMany(keys.map((key) => [Stepped, { id }, { aggregateId: key }] as const))
    await poll()
    await raw.hdel(LANES, 'orderedBy =key249', 'orderedBy =key99')
    await drop()
    let rounds = 0
    for (; rounds < 5 && (await left()) > 0; rounds++) {
      await poll()
      await claim()
    }

    expect(await left()).toBe(0)
  })
})

describe('while a poller may hold entries of the key', () => {
  it.each(['drop', 'redrive'] as const)('a %s has nothing of it start before the next poller', async (action) => {
    const steps = await startSteps()
    const { publishSteps, hopeless, poll, claim, ofKey, raw } = steps
    hopeless.add('a1')
    const [{ entryId: held }] = (await publishSteps('x1', 'a1', 'a2')) as unknown as [{ entryId: string }]
    await poll()
    hopeless.clear()
    await raw.xclaim('orders', 'billing', 'poller-0', 0, held, 'FORCE')

    await steps[action]()
    for (let round = 0; round < 2; round++) await claim()
    expect(ofKey('a')).toEqual(['a1'])
    await raw.xack('orders', 'billing', held)
    const report = await poll()
    for (let round = 0; round < 2; round++) await claim()

    expect([ofKey('a'), report.deadLettersGone]).toEqual([
      action === 'drop' ? ['a1', 'a2'] : ['a1', 'a1', 'a2'],
      undefined,
    ])
  })
})

describe('many keys that wait', () => {
  const KEYS = 100_000
  const FILL = `
for n = ARGV[1], ARGV[2] do
  local digits = ('%d'):format(n)
  redis.call('XADD', KEYS[3], '2-' .. digits, 'a', 'b')
  redis.call('HSET', KEYS[1], 'orderedBy =key' .. digits, '#1-' .. digits)
  redis.call('ZADD', KEYS[2], 0, 'orderedBy =key' .. digits .. '\\nA1' .. string.char(64 + #digits) .. digits .. ':2-' .. digits)
end`

  it('cost a run no request, and a thousand letters are searched for', { timeout: 120_000 }, async () => {
    const { publishSteps, poll, claim, raw } = await startSteps()
    await poll()
    await publishSteps('x1')
    const without = await poll()
    for (let from = 1; from < KEYS; from += 5_000) await raw.eval(FILL, 3, LANES, AWAITED, DLQ, from, from + 4_999)
    // scripts are sent by their text at first
    await publishSteps('x2')
    await poll()
    await publishSteps('x3')

    const report = await poll()
    await claim()

    expect([report.acked, report.deadLettersGone]).toEqual([1, undefined])
    // a lane question, and what is due, as with any lane
    expect(report.roundTrips).toBeLessThanOrEqual(without.roundTrips + 2)
    // the last of them in the order in which they are searched for
    await raw.xdel(DLQ, '2-99999')
    let runs = 0
    while (runs++ < 101 && (await poll()).deadLettersGone !== 1);
    expect(runs).toBeLessThanOrEqual(100)
    await raw.del(DLQ)
    expect((await poll()).deadLettersGone).toBe(1_000)
    expect(await raw.zcard(AWAITED)).toBe(KEYS - 1_001)
  })
})
