import { Redis } from 'ioredis'
import type { Connection, PublishFailedError } from 'millrace'
import { createPublisher, defineEvent, RedisConnectionError } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { describe, expect, it, onTestFinished } from 'vitest'
import * as z from 'zod/mini'
import { defineEvent as defineEventFromSource } from '../../src/define/event.ts'
import { delayKeyArguments } from '../../src/group/redis/delay-call.ts'
import { createPublisher as createPublisherFromSource } from '../../src/publish/publisher.ts'
import { DELAYED, delaysOn, MARKER_OF } from '../support/delays.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { connectLike62 } from '../support/redis-62.ts'
import { names, startScenario } from '../support/scenario.ts'

const Paid = defineEvent('Paid', { payload: z.object({ orderId: z.string() }) })
const HOUR = 3_600_000
const once = { eventId: 'e', deduplicateMs: HOUR } as const
const KINDS = [
  ['now', once],
  ['later', { ...once, delayMs: HOUR }],
] as const

const publish = (redis: Connection, options: object = once) =>
  createPublisher({ stream: 'orders', redis }).publish(Paid, { orderId: 'o' }, options)

/** The same where scripts see Redis 6.2: rights cannot be asked for. */
async function publishLike62(url: string, options: object): Promise<object> {
  const redis = connectLike62(url)
  const Event = defineEventFromSource('Paid', { payload: Paid.payload })
  try {
    return await createPublisherFromSource({ stream: 'orders', redis }).publish(Event, { orderId: 'o' }, options)
  } finally {
    await redis.close()
  }
}

/** A scenario with a second connection, which a proxy may cut. */
async function startBehindProxy() {
  const scenario = await startScenario()
  const proxy = await startFaultProxy(scenario.server)
  const cut = connectIoredis(proxy.url, { commandTimeout: 500, retryStrategy: () => 20 })
  onTestFinished(async () => {
    await cut.close()
    await proxy.close()
  })
  return { ...scenario, ...delaysOn(scenario.raw), proxy, cut }
}

/** All that lies on a server, as bytes in hexadecimal. */
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

describe.each(KINDS)('promise 21: a lost answer, of an event for %s', (_when, options) => {
  it.each(['cutBefore', 'cutAfter'] as const)('%s: what the client sends again is no duplicate', async (loss) => {
    const { proxy, cut, redis, entries, delayed } = await startBehindProxy()
    await publish(redis, { ...options, eventId: 'warm' })
    const lost = proxy[loss]('evalsha')

    const first = await publish(cut, options)

    await lost
    expect(first).not.toHaveProperty('duplicate')
    expect(await publish(redis, options)).toEqual({ ...first, duplicate: true })
    expect((await entries()).length + (await delayed())).toBe(2)
  })

  it('that never comes: published again it is the duplicate of the first', async () => {
    const { proxy, cut, redis, entries, delayed } = await startBehindProxy()
    await publish(redis, { ...options, eventId: 'warm' })
    const lost = proxy.freezeAfter('evalsha', 0)
    await expect(publish(cut, options)).rejects.toThrow(RedisConnectionError)
    await lost

    expect(await publish(cut, options)).toMatchObject({ eventId: 'e', duplicate: true })
    expect((await entries()).length + (await delayed())).toBe(2)
  })
})

describe('promise 21: many events', () => {
  const many = names('o', 2_500).map((eventId) => [Paid, { orderId: eventId }, { ...once, eventId }] as const)

  it('whose request is cut are added once each, in order', async () => {
    const { proxy, cut, raw, entries } = await startBehindProxy()
    const lost = proxy.cutAfter('o1500')

    const published = await createPublisher({ stream: 'orders', redis: cut }).publishMany(many)

    await lost
    expect(published.map(({ entryId }) => entryId)).toEqual((await raw.xrange('orders', '-', '+')).map(([id]) => id))
    expect((await entries()).map((fields) => new Map(fields).get('eventId'))).toEqual(names('o', 2_500))
    expect(published.some((each) => 'duplicate' in each)).toBe(false)
  })

  it('on a server that is killed meanwhile are added once each when all are published again', async () => {
    const { server, redis, raw } = await startScenario({
      server: { args: ['--appendonly', 'yes', '--appendfsync', 'always'] },
    })
    const publisher = createPublisher({ stream: 'orders', redis })
    const publishing = publisher.publishMany(many).catch(() => {})
    await expect.poll(() => raw.xlen('orders'), { interval: 1 }).toBeGreaterThan(100)
    server.kill('SIGKILL')
    await publishing
    await server.restart()

    await expect
      .poll(() => publisher.publishMany(many).then(String, () => 'down'), { timeout: 10_000 })
      .not.toBe('down')

    const ids = (await delaysOn(raw).entries()).map((fields) => new Map(fields).get('eventId'))
    expect([ids.length, new Set(ids).size]).toEqual([2_500, 2_500])
  })

  it('come in order among plain ones, also where the server has forgotten its scripts', async () => {
    const { redis, raw, entries } = await startBehindProxy()
    const publisher = createPublisher({ stream: 'orders', redis })
    await publish(redis, { ...once, eventId: 'warm' })
    await raw.script('FLUSH')

    await publisher.publishMany([[Paid, { orderId: 'plain' }], ...many.slice(0, 3), [Paid, { orderId: 'last' }]])

    const orders = (await entries()).map((fields) => JSON.parse(new Map(fields).get('payload') ?? '').orderId)
    expect(orders.slice(1)).toEqual(['plain', 'o0', 'o1', 'o2', 'last'])
  })
})

describe('promise 21: a server that forgets its scripts', () => {
  const mixed = (round: number) =>
    names(`r${round}-`, 600).map(
      (eventId, n) => [Paid, { orderId: eventId }, n % 3 ? { ...once, eventId } : { eventId }] as const,
    )
  const idsOf = (many: ReturnType<typeof mixed>) => many.map(([, , { eventId }]) => eventId)

  it('without a pause gets all events, in order', async () => {
    const { redis, raw, server, entries } = await startBehindProxy()
    const flusher = new Redis(server.url)
    const stop = new AbortController()
    const flushing = (async () => {
      while (!stop.signal.aborted) await flusher.script('FLUSH', 'SYNC')
    })()
    onTestFinished(() => flusher.disconnect())
    const publisher = createPublisher({ stream: 'orders', redis })

    for (let round = 0; round < 20; round++) {
      await raw.del('orders')
      await publisher.publishMany(mixed(round))
      expect((await entries()).map((fields) => new Map(fields).get('eventId'))).toEqual(idsOf(mixed(round)))
    }
    stop.abort()
    await flushing
  })

  it('raises a flag after the entry, also for one event whose script is unknown', async () => {
    const { raw, proxy, cut } = await startBehindProxy()
    const woken: string[] = []
    const wake = { group: 'billing', windowMs: 60_000, wake: async () => void woken.push('woken'), onError() {} }
    const publisher = createPublisher({ stream: 'orders', redis: cut, wake })
    await raw.set('{orders}:billing:wake', 'of another publisher', 'PX', 60_000)
    const held = proxy.pauseOn('eval\r\n')

    const publishing = publisher.publish(Paid, { orderId: 'o' }, once)
    const { release } = await held
    // the poller that was woken takes the flag back, and reads nothing
    await raw.del('{orders}:billing:wake')
    expect(await raw.xlen('orders')).toBe(0)
    release()
    await publishing

    expect([woken, await raw.exists('{orders}:billing:wake')]).toEqual([['woken'], 1])
  })
})

describe('promise 21: a full server', () => {
  it.each(KINDS)('refuses an event for %s, adds none, and leaves no marker', async (_when, options) => {
    const { redis, raw } = await startScenario()
    await publish(redis, { ...options, eventId: 'first' })
    await raw.config('SET', 'maxmemory', '1')
    const before = await everything(raw)

    expect(await messageOf(publish(redis, options))).toMatch(/^Cannot publish 1 of 1 events to stream "orders": OOM /)
    expect(await messageOf(publish(redis, { ...options, eventId: 'first' }))).toBe('none')
    expect(await everything(raw)).toEqual(before)
    await raw.config('SET', 'maxmemory', '0')
    expect(await publish(redis, options)).not.toHaveProperty('duplicate')
  })

  it('that fills up adds no entry without its marker, and no marker without its entry', async () => {
    const { redis, raw } = await startScenario()
    const used = Number(/used_memory:(\d+)/.exec(await raw.info('memory'))?.[1])
    await raw.config('SET', 'maxmemory', used + 4_000_000)
    const many = names('o', 40_000).map((eventId) => [Paid, { orderId: eventId }, { ...once, eventId }] as const)

    const error = await createPublisher({ stream: 'orders', redis })
      .publishMany(many)
      .catch((thrown: unknown) => thrown)

    const { entryIds } = error as PublishFailedError
    const written = await raw.xlen('orders')
    expect(written).toBeGreaterThan(1_000)
    expect([entryIds.filter(Boolean).length, (await raw.keys(MARKER_OF('*'))).length]).toEqual([written, written])
  })
})

describe('promise 21: a key of another type', () => {
  const marker = MARKER_OF('e')
  const [, , events, next, ...ended] = delayKeyArguments('orders') as [string, string, string, string, ...string[]]
  const cases = [
    ['now', once, [marker, 'orders', DELAYED]],
    ['later', { ...once, delayMs: HOUR }, [marker, 'orders', DELAYED, events, next, ...ended]],
  ] as const
  const rows = cases.flatMap(([when, options, keys]) => keys.map((key) => ({ when, options, key })))

  it.each(rows)('$key: an event for $when is refused by its name, and nothing is written', async ({ options, key }) => {
    const { redis, raw } = await startScenario()
    await raw.sadd(key, 'x')
    const before = await everything(raw)

    expect(await messageOf(publish(redis, options))).toContain(`: WRONGTYPE ${key} must be a`)
    expect(await everything(raw)).toEqual(before)
  })

  it('a marker: cancel() is refused by its name, and cancels nothing', async () => {
    const { redis, raw } = await startScenario()
    await publish(redis, { eventId: 'e', delayMs: HOUR })
    await raw.sadd(marker, 'x')
    const before = await everything(raw)

    const cancelling = createPublisher({ stream: 'orders', redis }).cancel('e')
    expect(await messageOf(cancelling)).toContain(`WRONGTYPE ${marker} must be a string`)
    expect(await everything(raw)).toEqual(before)
  })

  it.each(['', 'anything', '1-1', ' nonce', '1-x nonce'])('a marker that holds %j is absent', async (text) => {
    for (const [, options] of KINDS) {
      const { redis, raw } = await startScenario()
      await raw.set(marker, text)

      expect(await publish(redis, options)).not.toHaveProperty('duplicate')
      expect(await publish(redis, options)).toHaveProperty('duplicate', true)
      expect(await raw.pttl(marker)).toBeGreaterThan(HOUR - 60_000)
    }
  })
})

describe.each(KINDS)('promise 21: a missing right, for an event for %s', (when, options) => {
  const NEEDED = [
    'get',
    'setnx',
    'getex',
    'getdel',
    'zscore',
    'zcard',
    ...(when === 'now' ? ['xadd'] : ['zadd', 'zrevrangebyscore']),
  ]
  const others = 'info eval evalsha time type zrangebyscore hget hset hsetnx hdel'.split(' ')
  const allowed = [...others, ...NEEDED].map((name) => `+${name}`)
  const userWithout = (raw: Redis, command: string) =>
    raw.call('ACL', 'SETUSER', 'p', 'reset', 'on', '>p', '~*', '-@all', ...allowed, `-${command}`)
  const asUser = (url: string) => url.replace('redis://', 'redis://p:p@')

  it.each(NEEDED)('%s: is refused, and nothing is written', async (command) => {
    const { server, raw, connect } = await startScenario()
    await raw.xadd('orders', '*', 'a', 'b')
    await userWithout(raw, command)
    const before = await everything(raw)

    expect(await messageOf(publish(connect(asUser(server.url)), options))).toMatch(/NOPERM/)
    expect(await everything(raw)).toEqual(before)
  })

  it('none: works, also where rights cannot be asked for, as before 7.0', async () => {
    const { server, raw } = await startScenario()
    await userWithout(raw, 'del')
    const first = await publishLike62(asUser(server.url), options)

    expect(first).not.toHaveProperty('duplicate')
    expect(await publishLike62(asUser(server.url), options)).toEqual({ ...first, duplicate: true })
    expect(await raw.pttl(MARKER_OF('e'))).toBeGreaterThan(HOUR - 60_000)
  })

  const late = when === 'now' ? ['xadd'] : ['zadd', 'hset', 'hsetnx', 'zrangebyscore', 'zrevrangebyscore', 'zscore']
  it.each(['get', 'setnx', 'getex', 'getdel', ...late])(
    '%s: leaves nothing where rights cannot be asked for',
    async (command) => {
      const { server, raw, redis } = await startScenario()
      await userWithout(raw, command)

      expect(await messageOf(publishLike62(asUser(server.url), options))).toMatch(
        /can't run this command|no permissions/,
      )
      expect(await raw.keys('*')).toEqual([])
      expect(await publish(redis, options)).not.toHaveProperty('duplicate')
    },
  )

  it('before 7.0, full memory refuses it as well', async () => {
    const { server, raw } = await startScenario()
    await raw.config('SET', 'maxmemory', '1')

    expect(await messageOf(publishLike62(server.url, options))).toMatch(/OOM/)
    expect(await raw.keys('*')).toEqual([])
  })
})

describe('before 7.0', () => {
  it('a delay that is refused leaves another one, and the flag, as they were', async () => {
    const { server, raw, redis } = await startScenario()
    await publish(redis, { eventId: 'other', delayMs: HOUR })
    await raw.call('ACL', 'SETUSER', 'p', 'reset', 'on', '>p', '~*', '+@all', '-hsetnx')
    const before = await everything(raw)

    const delaying = publishLike62(server.url.replace('redis://', 'redis://p:p@'), { eventId: 'e', delayMs: HOUR })

    expect(await messageOf(delaying)).toMatch(/can't run this command|no permissions/)
    expect(await everything(raw)).toEqual(before)
  })
})
