import type { Redis } from 'ioredis'
import type { Connection } from 'millrace'
import { createPublisher, defineEvent, readEvents, VersionConflictError } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { connectUpstash } from 'millrace/upstash'
import { describe, expect, it, onTestFinished } from 'vitest'
import * as z from 'zod/mini'
import { defineEvent as defineEventFromSource } from '../../src/define/event.ts'
import { createPublisher as createPublisherFromSource } from '../../src/publish/publisher.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { connectLike62 } from '../support/redis-62.ts'
import { startRestServer } from '../support/rest-server.ts'
import { startScenario } from '../support/scenario.ts'
import { watchCommands } from '../support/watch-commands.ts'

const Added = defineEvent('Added', { payload: z.object({ amount: z.number() }) })
const VERSIONS = '{orders}::aggregate::account:a'
const of = { aggregateType: 'account', aggregateId: 'a' }

const publish = (redis: Connection, expectedVersion: number, options: object = {}) =>
  createPublisher({ stream: 'orders', redis, maxLength: Number.POSITIVE_INFINITY, ...options }).publish(
    Added,
    { amount: 1 },
    { ...of, expectedVersion, eventId: `e-${expectedVersion}` },
  )

const two = (redis: Connection, from: number) =>
  createPublisher({ stream: 'orders', redis }).publishMany(
    [from, from + 1].map((expectedVersion) => [Added, { amount: 1 }, { ...of, expectedVersion }] as const),
  )

async function readAll(redis: Connection, options: object = {}): Promise<number[]> {
  const versions: number[] = []
  for await (const event of readEvents('orders', { redis, events: [Added], ...of, ...options }))
    versions.push(event.aggregateVersion)
  return versions
}

async function everything(raw: Redis): Promise<object> {
  const keys = (await raw.keys('*')).sort()
  return Object.fromEntries(
    await Promise.all(keys.map(async (key) => [key, (await raw.dumpBuffer(key)).toString('hex')])),
  )
}

const messageOf = (call: Promise<unknown>) =>
  call.then(
    () => 'none',
    (error: Error) => error.message,
  )

async function startBehindProxy() {
  const scenario = await startScenario()
  const proxy = await startFaultProxy(scenario.server)
  const cut = connectIoredis(proxy.url, { commandTimeout: 500, retryStrategy: () => 20 })
  onTestFinished(async () => {
    await cut.close()
    await proxy.close()
  })
  return { ...scenario, proxy, cut }
}

/** The same where scripts see Redis 6.2: rights cannot be asked for. */
async function publishLike62(url: string, expectedVersion: number): Promise<object> {
  const redis = connectLike62(url)
  const Event = defineEventFromSource('Added', { payload: Added.payload })
  try {
    const options = { ...of, expectedVersion, eventId: 'e' }
    return await createPublisherFromSource({ stream: 'orders', redis }).publish(Event, { amount: 1 }, options)
  } finally {
    await redis.close()
  }
}

describe('expectedVersion, a lost answer', () => {
  it.each(['cutBefore', 'cutAfter'] as const)('%s: what the client sends again does not conflict', async (loss) => {
    const { proxy, cut, redis, raw } = await startBehindProxy()
    await two(redis, 0)
    const lost = proxy[loss]('evalsha')

    const published = await two(cut, 2)

    await lost
    expect(published).toHaveLength(2)
    expect([await readAll(redis), await raw.xlen('orders')]).toEqual([[1, 2, 3, 4], 4])
  })

  it('that never comes: published again it is the same event, also after others', async () => {
    const { proxy, cut, redis, raw } = await startBehindProxy()
    await publish(redis, 0)
    const lost = proxy.freezeAfter('evalsha', 0)
    await expect(publish(cut, 1)).rejects.toThrow()
    await lost
    await publish(redis, 2)

    const again = await publish(redis, 1)

    const [, [entryId] = []] = await raw.xrange('orders', '-', '+')
    expect([again.entryId, await raw.xlen('orders')]).toEqual([entryId, 3])
  })

  it('a reader whose answers are lost reads on', async () => {
    const { proxy, cut, redis } = await startBehindProxy()
    for (let n = 0; n < 250; n += 2) await two(redis, n)
    await readAll(cut)
    const found: number[] = []
    for await (const { aggregateVersion } of readEvents('orders', { redis: cut, events: [Added], ...of })) {
      found.push(aggregateVersion)
      if (aggregateVersion === 50) void proxy.cutAfter('evalsha')
    }
    expect(found).toEqual(Array.from({ length: 250 }, (_, n) => n + 1))
  })
})

it('a server that forgets its scripts all the time adds each event once', async () => {
  const { redis, raw } = await startScenario()
  for (let n = 0; n < 20; n++) {
    await raw.script('FLUSH')
    await publish(redis, n)
    await raw.script('FLUSH')
    expect(await readAll(redis, { from: n + 1 })).toEqual([n + 1])
  }
})

it('a poller is woken by an event at its version', async () => {
  const { redis } = await startScenario()
  const woken: string[] = []
  const wake = { group: 'billing', windowMs: 60_000, wake: async () => void woken.push('woken'), onError() {} }

  await publish(redis, 0, { wake })
  await publish(redis, 1, { wake })

  expect(woken).toEqual(['woken'])
})

it('trims by age on the server’s clock', async () => {
  const { redis, raw } = await startScenario()
  await raw.xadd('orders', '1-0', 'a', 'b')
  await publish(redis, 0, { maxLength: undefined, retentionMs: 60_000, exactTrimming: true })

  expect([await raw.xlen('orders'), await readAll(redis)]).toEqual([1, [1]])
})

describe('nothing is written where', () => {
  it('the server is full; what is there is found', async () => {
    const { redis, raw } = await startScenario()
    await publish(redis, 0)
    await raw.config('SET', 'maxmemory', '1')
    const before = await everything(raw)

    expect(await messageOf(publish(redis, 1))).toMatch(/^Cannot publish 1 of 1 events to stream "orders": OOM /)
    expect(await messageOf(two(redis, 1))).toMatch(/^Cannot publish 2 of 2 events to stream "orders": OOM /)
    expect(await messageOf(publish(redis, 0))).toBe('none')
    expect(await readAll(redis)).toEqual([1])
    expect(await everything(raw)).toEqual(before)
  })

  it.each(['orders', VERSIONS])('%s is of another type', async (key) => {
    const { redis, raw } = await startScenario()
    await raw.sadd(key, 'x')
    const before = await everything(raw)

    expect(await messageOf(publish(redis, 0))).toContain('WRONGTYPE')
    expect(await everything(raw)).toEqual(before)
  })

  const NEEDED = ['xadd', 'zadd', 'xrange', 'zremrangebyrank', 'zrevrange', 'zrange', 'zrangebyscore']
  const userWithout = (raw: Redis, command: string) => {
    const allowed = ['info', 'eval', 'evalsha', ...NEEDED].map((name) => `+${name}`)
    return raw.call('ACL', 'SETUSER', 'p', 'reset', 'on', '>p', '~*', '-@all', ...allowed, `-${command}`)
  }
  const asUser = (url: string) => url.replace('redis://', 'redis://p:p@')

  it.each(NEEDED)('%s is not allowed', async (command) => {
    const { server, raw, connect } = await startScenario()
    await raw.xadd('orders', '*', 'a', 'b')
    await userWithout(raw, command)
    const before = await everything(raw)

    // of a resend alone
    const isOfResend = command === 'zrangebyscore'
    expect(await messageOf(publish(connect(asUser(server.url)), isOfResend ? 1 : 0))).toMatch(
      /NOPERM|can't run this command/,
    )
    expect(await everything(raw)).toEqual(before)
  })

  it.each(NEEDED.filter((name) => name !== 'zrangebyscore'))(
    '%s is not allowed and rights cannot be asked for, as before 7.0',
    async (command) => {
      const { server, raw } = await startScenario()
      await userWithout(raw, command)

      expect(await messageOf(publishLike62(asUser(server.url), 0))).toMatch(/can't run this command|no permissions/)
      expect(await raw.keys('*')).toEqual([])
    },
  )

  it('memory is full, as before 7.0', async () => {
    const { server, raw } = await startScenario()
    await raw.config('SET', 'maxmemory', '1')

    expect(await messageOf(publishLike62(server.url, 0))).toMatch(/OOM/)
    expect(await raw.keys('*')).toEqual([])
  })

  it('nothing is wrong, as before 7.0: it is', async () => {
    const { server, raw } = await startScenario()
    const first = await publishLike62(server.url, 0)

    expect(await publishLike62(server.url, 0)).toEqual(first)
    expect(await messageOf(publishLike62(server.url, 2))).toContain('expectedVersion must be its version, 1, got 2')
    expect(await raw.xlen('orders')).toBe(1)
  })

  it('the ids of the stream are used up before the last one', async () => {
    const { redis, raw } = await startScenario()
    await raw.xadd('orders', '18446744073709551615-18446744073709551614', 'a', 'b')
    const before = await everything(raw)

    expect(await messageOf(two(redis, 0))).toContain('the ids of the stream are used up')
    expect(await everything(raw)).toEqual(before)
  })

  it('an entry has more fields than one call takes', async () => {
    const { redis, raw } = await startScenario()
    const attributes = Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [`n${n}`, 'x']))
    const options = { ...of, expectedVersion: 0, attributes }

    const failure = messageOf(createPublisher({ stream: 'orders', redis }).publish(Added, { amount: 1 }, options))

    expect(await failure).toContain('must have at most 1000 fields')
    expect(await raw.keys('*')).toEqual([])
  })
})

it('what was deleted within, or is no version, is never a wrong answer', async () => {
  const { redis, raw } = await startScenario()
  for (let n = 0; n < 5; n++) await publish(redis, n)
  const ids = (await raw.xrange('orders', '-', '+')).map(([id]) => id)
  await raw.xdel('orders', ids[2] as string)

  await expect(readAll(redis)).rejects.toMatchObject({ code: 'ERR_EVENTS_TRIMMED', aggregateVersion: 3 })
  expect(await readAll(redis, { from: 4 })).toEqual([4, 5])
  await raw.zadd(VERSIONS, 4, ids[4] as string, 5, ids[3] as string)
  await expect(readAll(redis, { from: 4 })).rejects.toMatchObject({ code: 'ERR_EVENT_UNREADABLE', aggregateVersion: 4 })
  await raw.zadd(VERSIONS, 6, 'no id')
  await expect(readAll(redis, { from: 6 })).rejects.toThrow()
  await raw.del('orders')
  await expect(readAll(redis)).rejects.toMatchObject({ code: 'ERR_EVENTS_TRIMMED' })
  await expect(publish(redis, 0)).rejects.toMatchObject({ actualVersion: 6 })
})

it('a history that loses its end while it is read is an error', async () => {
  const { redis, raw } = await startScenario()
  for (let n = 0; n < 150; n += 2) await two(redis, n)
  const found: number[] = []

  const reading = async () => {
    for await (const { aggregateVersion } of readEvents('orders', { redis, events: [Added], ...of })) {
      found.push(aggregateVersion)
      if (aggregateVersion === 50) await raw.zremrangebyscore(VERSIONS, 81, '+inf')
    }
  }

  await expect(reading()).rejects.toMatchObject({ code: 'ERR_EVENTS_TRIMMED', aggregateVersion: 81 })
  expect(found).toHaveLength(100)
})

it('reads a page by halves where an answer is larger than a service gives', async () => {
  const { redis, server } = await startScenario()
  for (let n = 0; n < 40; n += 2) await two(redis, n)
  const rest = await startRestServer({ redisUrl: server.url, token: 't', maxReplyBytes: 2_000 })
  const narrow = connectUpstash({ url: rest.url, token: 't' })
  onTestFinished(() => rest.close())

  expect(await readAll(narrow)).toEqual(await readAll(redis))
  rest.failNext('serverError')
  await expect(readAll(narrow)).rejects.toThrow('internal server error')
})

it('the last hundred of a million events are one round trip', async () => {
  const { redis, raw, server } = await startScenario()
  await raw.config('SET', 'lua-time-limit', '60000')
  const fill = `
    for n = 1, ARGV[1] do
      local id = redis.call('XADD', KEYS[1], '*', 'eventId', 'e-' .. n, 'eventType', 'Added', 'payload', '{"amount":1}')
      redis.call('ZADD', KEYS[2], n, id)
    end`
  await raw.eval(fill, 2, 'orders', VERSIONS, 1_000_000)
  await readAll(redis, { from: 1_000_000 })
  const watch = await watchCommands(server.url)
  const started = performance.now()

  expect(await readAll(redis, { from: 999_901 })).toHaveLength(100)

  const ms = performance.now() - started
  expect((await watch.seen()).filter(([name]) => name === 'evalsha')).toHaveLength(1)
  const bytes = Number(await raw.call('MEMORY', 'USAGE', VERSIONS, 'SAMPLES', 0)) / 1_000_000
  console.log(`${ms.toFixed(1)} ms; ${bytes.toFixed(0)} bytes an event`)
  expect(ms).toBeLessThan(100)
  expect(bytes).toBeLessThan(150)
  await expect(publish(redis, 999_999)).rejects.toThrow(VersionConflictError)
  await publish(redis, 1_000_000)
}, 60_000)
