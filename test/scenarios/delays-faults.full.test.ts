import type { Redis } from 'ioredis'
import type { Connection } from 'millrace'
import { createPublisher, defineEvent, PublishFailedError, promoteDelays, RedisConnectionError } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { describe, expect, it, onTestFinished } from 'vitest'
import * as z from 'zod/mini'
import { delayKeyArguments } from '../../src/group/redis/delay-call.ts'
import { delayEventScript } from '../../src/group/redis/scripts/delay-event.ts'
import { changeBody, dueOf, pagedEvents } from '../support/delayed-pages.ts'
import { countDelayed, DELAYED, delayOverTcp, delaysOn, passDelays, promoteAll } from '../support/delays.ts'
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts'
import { names, startScenario } from '../support/scenario.ts'
import { watchCommands } from '../support/watch-commands.ts'

const Reminder = defineEvent('Reminder', { payload: z.object({ orderId: z.string() }) })
const HOUR = 3_600_000
const KEYS = delayKeyArguments('orders')
const [, , EVENTS, NEXT, ...ENDED] = KEYS as [string, string, string, string, ...string[]]

const later = (redis: Connection, eventId: string, delayMs = HOUR) =>
  createPublisher({ stream: 'orders', redis }).publish(Reminder, { orderId: eventId }, { eventId, delayMs })
const promote = (redis: Connection) => promoteDelays().promote({ redis, stream: 'orders' })

/** A scenario with a second connection, which a proxy may cut. */
async function startBehindProxy() {
  const scenario = await startScenario()
  const proxy = await startFaultProxy(scenario.server)
  const redis = connectIoredis(proxy.url, { commandTimeout: 500, retryStrategy: () => 20 })
  onTestFinished(async () => {
    await redis.close()
    await proxy.close()
  })
  return { ...scenario, ...delaysOn(scenario.raw), proxy, cut: redis }
}

/** All that lies on a server, as bytes in hexadecimal, but for what a write of any kind changes. */
async function everything(raw: Redis): Promise<object> {
  const keys = (await raw.keys('*')).sort()
  return Object.fromEntries(
    await Promise.all(keys.map(async (key) => [key, (await raw.dumpBuffer(key)).toString('hex')])),
  )
}

/** How an answer is lost: the client sends the call again by itself, or it fails and its caller asks again. */
const LOSSES = ['cutBefore', 'cutAfter', 'freezeAfter'] as const

/** Makes a call whose answer is lost, and makes it again where it fails for that. */
async function twice<T>(
  proxy: FaultProxy,
  loss: (typeof LOSSES)[number],
  match: string,
  call: () => Promise<T>,
): Promise<T> {
  const lost = loss === 'freezeAfter' ? proxy.freezeAfter(match, 0) : proxy[loss](match)
  const answer = await call().catch((error: unknown) => {
    expect([loss, error]).toEqual(['freezeAfter', expect.any(RedisConnectionError)])
    return call()
  })
  await lost
  return answer
}

describe.each(LOSSES)('a lost answer, %s', (loss) => {
  it('of publish(): the event sent again waits once, with the time of the first', async () => {
    const { proxy, cut, redis, raw, delayed } = await startBehindProxy()
    await later(redis, 'warm')

    const { deliverAt } = await twice(proxy, loss, 'evalsha', () => later(cut, 'e'))

    expect(String(deliverAt.getTime())).toBe(await dueOf(raw, 'e'))
    expect([await delayed(), (await pagedEvents(raw)).length]).toEqual([2, 2])
  })

  it('of cancel(): asked again it answers the same', async () => {
    const { proxy, cut, redis, delayed } = await startBehindProxy()
    await later(redis, 'e')
    await createPublisher({ stream: 'orders', redis }).cancel('nobody')
    const publisher = createPublisher({ stream: 'orders', redis: cut })

    const answer = await twice(proxy, loss, 'evalsha', () => publisher.cancel('e'))

    expect([answer, await publisher.cancel('e'), await delayed()]).toEqual(['cancelled', 'already-cancelled', 0])
  })

  it('of cancel(): asked again after the event was published once more, it cancels that', async () => {
    const { proxy, cut, redis, delayed } = await startBehindProxy()
    await later(redis, 'e')
    await createPublisher({ stream: 'orders', redis }).cancel('nobody')
    const publisher = createPublisher({ stream: 'orders', redis: cut })
    const lost = proxy.freezeAfter('evalsha', 0)
    await expect(publisher.cancel('e')).rejects.toThrow(RedisConnectionError)
    await lost
    await later(redis, 'e')

    expect([await publisher.cancel('e'), await delayed()]).toEqual(['cancelled', 0])
  })

  it('of a promotion: each event comes once', async () => {
    const { proxy, cut, redis, entries } = await startBehindProxy()
    await Promise.all(names('e', 250).map((id) => later(redis, id, 0)))
    await promote(redis)

    await twice(proxy, loss, 'evalsha', () => promote(cut))

    await promoteAll(redis)
    expect(await entries()).toHaveLength(250)
  })
})

describe('a promoter that is gone', () => {
  it('before it raises a flag: the event is published, and the lost wake-up is reported', async () => {
    const { proxy, cut, redis, entries } = await startBehindProxy()
    const told: string[] = []
    const wake = {
      group: 'g',
      windowMs: 1_000,
      wake: async () => {},
      onError: (error: Error) => void told.push(error.name),
    }
    await createPublisher({ stream: 'orders', redis, wake }).publish(Reminder, { orderId: 'o' }, { delayMs: 0 })
    const lost = proxy.freezeAfter('{orders}:g:wake', 0)

    const page = await promoteDelays({ wake }).promote({ redis: cut, stream: 'orders' })

    await lost
    expect([page.promoted, (await entries()).length, told]).toEqual([1, 1, ['RedisConnectionError']])
  })

  it('with its server, killed in mid-promotion: each event comes once', async () => {
    const { server, redis, raw } = await startScenario({
      server: { args: ['--appendonly', 'yes', '--appendfsync', 'always'] },
    })
    const many = names('e', 3_000).map((eventId) => [Reminder, { orderId: eventId }, { eventId, delayMs: 0 }] as const)
    await createPublisher({ stream: 'orders', redis }).publishMany(many)
    const promoting = promoteAll(redis).catch(() => {})
    await expect.poll(() => raw.xlen('orders'), { interval: 1 }).toBeGreaterThan(100)
    server.kill('SIGKILL')
    await promoting
    await server.restart()

    await expect.poll(() => promoteAll(redis).catch(() => 'down'), { timeout: 10_000 }).toBe(0)

    const ids = (await delaysOn(raw).entries()).map((fields) => new Map(fields).get('eventId'))
    expect([ids.length, new Set(ids).size]).toEqual([3_000, 3_000])
  })
})

describe('a key of another type', () => {
  const wrong = {
    orders: 'stream',
    [DELAYED]: 'zset',
    [EVENTS]: 'hash',
    [NEXT]: 'string',
    [ENDED[0] as string]: 'hash',
    [ENDED[1] as string]: 'hash',
  }

  it.each(Object.keys(wrong))('%s: every call is refused as a whole, and says which key it is', async (key) => {
    const { redis, raw } = await delayOverTcp().then(({ scenario }) => scenario)
    await Promise.all([later(redis, 'a', 0), later(redis, 'b')])
    await raw.del(key)
    await (key === NEXT ? raw.sadd(key, 'x') : raw.set(key, 'x'))
    const before = await everything(raw)

    const calls = [later(redis, 'c'), createPublisher({ stream: 'orders', redis }).cancel('b')]
    const answers = await Promise.all(
      calls.map((call) =>
        call.then(
          () => '',
          (error: Error) => error.message,
        ),
      ),
    )
    const { promoted, refusals } = await promote(redis)

    for (const message of [...answers, refusals[0]?.message]) expect(message).toContain(`WRONGTYPE ${key} must be a`)
    expect(promoted).toBe(0)
    expect(await everything(raw)).toEqual(before)
  })
})

describe('a full server', () => {
  it('refuses to delay an event, writes nothing, and publishes it later, not now', async () => {
    const { redis, raw, entries } = await startBehindProxy()
    await later(redis, 'a')
    await raw.config('SET', 'maxmemory', '1')
    const before = await everything(raw)

    const error = await later(redis, 'b').catch((thrown: unknown) => thrown)

    expect(error).toBeInstanceOf(PublishFailedError)
    expect((error as Error).message).toMatch(/^Cannot publish 1 of 1 events to stream "orders": OOM /)
    expect([await everything(raw), await entries()]).toEqual([before, []])
  })

  it('keeps what is due delayed, and still cancels', async () => {
    const { redis, raw, entries, delayed } = await startBehindProxy()
    await Promise.all(['a', 'b', 'c'].map((id) => later(redis, id, 0)))
    await raw.config('SET', 'maxmemory', '1')

    const page = await promote(redis)

    expect(page).toMatchObject({
      promoted: 0,
      refusals: [{ code: 'ERR_REDIS_REPLY', message: expect.stringMatching(/^OOM /) }],
    })
    expect(page.nextDueAt).toBeLessThanOrEqual(page.nowMs)
    expect(await createPublisher({ stream: 'orders', redis }).cancel('b')).toBe('cancelled')
    await raw.config('SET', 'maxmemory', '0')
    expect([await promoteAll(redis), (await entries()).length, await delayed()]).toEqual([2, 2, 0])
  })

  it('leaves what cannot be read where it is, and what comes after it', async () => {
    const { redis, raw, delayed } = await startBehindProxy()
    await Promise.all(['a', 'b'].map((id) => later(redis, id)))
    await changeBody(raw, 'a', () => Buffer.from('2'))
    await passDelays(raw, HOUR)
    await raw.config('SET', 'maxmemory', '1')
    const before = await everything(raw)

    const { promoted, unreadable, refusals } = await promote(redis)

    expect([promoted, unreadable, refusals[0]?.message]).toEqual([0, 0, expect.stringMatching(/^OOM /)])
    expect(await everything(raw)).toEqual(before)
    await raw.config('SET', 'maxmemory', '0')
    expect(await promote(redis)).toMatchObject({ promoted: 1, unreadable: 1, refusals: [] })
    expect(await delayed()).toBe(1)
  })

  it('of many events names those that are delayed and those that are published', async () => {
    const { redis, raw } = await startBehindProxy()
    const used = Number(/used_memory:(\d+)/.exec(await raw.info('memory'))?.[1])
    await raw.config('SET', 'maxmemory', used + 2_000_000)
    const many = names('o', 20_000).map(
      (orderId, n) => [Reminder, { orderId }, n % 2 ? {} : { delayMs: HOUR }] as const,
    )

    const error = await createPublisher({ stream: 'orders', redis })
      .publishMany(many)
      .catch((thrown: unknown) => thrown)

    await raw.config('SET', 'maxmemory', '0')
    const { entryIds, delayedUntil } = error as PublishFailedError
    expect([entryIds.filter(Boolean).length, delayedUntil.filter(Boolean).length]).toEqual([
      await raw.xlen('orders'),
      await countDelayed(raw),
    ])
    expect((await pagedEvents(raw)).length).toBe(await countDelayed(raw))
  })
})

describe('a record', () => {
  /** Delays an entry by the script, with bytes that no publisher of ours writes. */
  const write = (raw: Redis, eventId: string, fields: readonly (string | Buffer)[]) =>
    raw.call('EVAL', delayEventScript.lua, KEYS.length, ...KEYS, eventId, 'in', 0, '', '', 0, ...(fields as string[]))

  it('keeps every byte, every duplicate and the order of its fields', async () => {
    const { redis, raw } = await startBehindProxy()
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, n) => n))
    const id = '0193b2a4-7c1e-7d3f-8a5b-0123456789ab'
    const fields = [
      'payload',
      bytes,
      'eventId',
      id,
      bytes,
      '',
      'eventType',
      'T',
      'eventId',
      'other',
      '',
      'x',
      'i',
      '5:',
      'eventType',
      'T',
    ]
    await write(raw, id, fields)

    await promoteAll(redis)

    const [[, flat] = []] = (await raw.xrangeBuffer('orders', '-', '+')) as unknown as [Buffer, Buffer[]][]
    expect(flat).toEqual(fields.map((value) => Buffer.from(value)))
  })

  it.each<[what: string, record: (whole: Buffer) => Buffer]>([
    ['cut off', (whole) => whole.subarray(0, -3)],
    ['of a later version', (whole) => Buffer.concat([Buffer.from('2'), whole.subarray(1)])],
    ['empty', () => Buffer.alloc(0)],
    ['without a length', (whole) => Buffer.concat([whole, Buffer.from('t')])],
    ['of an unknown field', (whole) => Buffer.concat([whole, Buffer.from('z\u0001x')])],
    [
      'with more fields than Lua has room for',
      (whole) => Buffer.concat([whole, Buffer.from('=\u0001a\u0001b'.repeat(8_000))]),
    ],
  ])('that is %s is set aside, counted, and does not hold up the others', async (_what, record) => {
    const { redis, raw, entries } = await startBehindProxy()
    await Promise.all(['a', 'b', 'c'].map((id) => later(redis, id)))
    const body = await changeBody(raw, 'b', record)
    await passDelays(raw, HOUR)

    const page = await promote(redis)

    expect(page).toMatchObject({ promoted: 2, unreadable: 1, nextDueAt: undefined, refusals: [] })
    expect([(await entries()).length, await raw.zcount(DELAYED, '9e15', '+inf'), await raw.get(NEXT)]).toEqual([
      2,
      1,
      null,
    ])
    const left = await pagedEvents(raw)
    expect([left.map(({ eventId }) => eventId), left[0]?.body]).toEqual([['b'], record(body)])
    expect((await later(redis, 'b')).deliverAt.getTime()).toBeLessThan(Date.now())
    expect(await createPublisher({ stream: 'orders', redis }).cancel('b')).toBe('cancelled')
    expect(await raw.exists(DELAYED, EVENTS, NEXT)).toBe(0)
  })

  it('of a call that is sent again does not bring back what was cancelled meanwhile', async () => {
    const { raw, redis } = await startBehindProxy()
    const args = ['e', 'in', 60_000, '', 'nonce-1', 0, 'eventType', 'OrderPaid'] as const
    const delayed = () => raw.eval(delayEventScript.lua, KEYS.length, ...KEYS, ...args)
    const publisher = createPublisher({ stream: 'orders', redis })
    await delayed()

    expect(await publisher.cancel('e')).toBe('cancelled')
    await delayed()
    expect(await raw.exists(DELAYED)).toBe(0)
    expect(await publisher.cancel('e')).toBe('already-cancelled')
  })

  it.each([
    ['a trim beyond all numbers', `L${'\xff'.repeat(10)}\x01\0\0i`],
    ['a trim of another kind', 'z\x05\0\0i'],
    ['no fields', '-\0\0'],
  ])('with %s blocks no others', async (_what, text) => {
    const { raw, redis } = await startBehindProxy()
    await later(redis, 'a')
    await later(redis, 'b')
    await changeBody(raw, 'a', () => Buffer.from(`1${text}`, 'latin1'))
    await passDelays(raw, HOUR)

    expect(await promote(redis)).toMatchObject({ promoted: 1, unreadable: 1, refusals: [] })
  })

  it('is refused when it is written, with too many fields, none, or no time', async () => {
    const { raw } = await startBehindProxy()
    const call = (...args: (string | number)[]) => raw.eval(delayEventScript.lua, KEYS.length, ...KEYS, ...args)
    const tooMany = names('f', 2_002)

    await expect(call('e', 'in', 0, '', '', 0, ...tooMany)).rejects.toThrow('1 to 1000 pairs')
    await expect(call('e', 'in', 0, '', '', 0)).rejects.toThrow('1 to 1000 pairs')
    await expect(call('e', 'in', 0, '', '', 0, 'a')).rejects.toThrow('1 to 1000 pairs')
    await expect(call('e', 'in', 'soon', '', '', 0, 'a', 'b')).rejects.toThrow('a delay must be milliseconds')
    await expect(call('e', 'at', 'nan', '', '', 0, 'a', 'b')).rejects.toThrow('a delay must be milliseconds')
    await expect(call('e', 'in', -1, '', '', 0, 'a', 'b')).rejects.toThrow('a delay must be milliseconds')
    await expect(call('e', 'in', 'inf', '', '', 0, 'a', 'b')).rejects.toThrow('within 366 days')
    await expect(call('e', 'by', 1, '', '', 0, 'a', 'b')).rejects.toThrow('must be in or at')
    await expect(call('e', 'in', 1, 'ALL', '', 0, 'a', 'b')).rejects.toThrow('MAXLEN or MINID')
    expect(await raw.keys('*')).toEqual([])
  })
})

describe('publishMany()', () => {
  const wake = { group: 'g', windowMs: 60_000, wake: async () => {}, onError: () => {} }
  const mixed = (n: number) => [Reminder, { orderId: `${n}` }, n % 2 ? { delayMs: HOUR } : {}] as const

  it('sends delayed events among others, in order, in one request', async () => {
    const { proxy, cut, redis, server } = await startBehindProxy()
    await later(redis, 'warm')
    const publisher = createPublisher({ stream: 'orders', redis: cut, wake })
    await publisher.publish(Reminder, { orderId: 'o' }, { delayMs: HOUR })
    const { requests } = proxy
    const watch = await watchCommands(server.url)

    await publisher.publishMany([0, 1, 2, 3].map(mixed))

    const names = (await watch.sent()).map(([name]) => name)
    expect(names).toEqual(['xadd', 'evalsha', 'xadd', 'evalsha', 'setnx', 'get', 'getex'])
    expect(proxy.requests - requests).toBe(2) // the flag's end has its own
  })

  it('sends the text of the script once to a server that does not know it', async () => {
    const { redis, server, delayed } = await startBehindProxy()
    const watch = await watchCommands(server.url)

    await createPublisher({ stream: 'orders', redis }).publishMany(names('o', 500).map((_id, n) => mixed(2 * n + 1)))

    const sent = (await watch.sent()).map(([name]) => name)
    expect([sent.filter((name) => name === 'eval').length, await delayed()]).toEqual([1, 500])
  })
})

it('a page ends after about a megabyte, and with one entry at least', async () => {
  const { redis } = await startBehindProxy()
  const large = Array.from(
    { length: 8 },
    (_, n) => [Reminder, { orderId: `${n}${'x'.repeat(400_000)}` }, { delayMs: 0 }] as const,
  )
  await createPublisher({ stream: 'orders', redis }).publishMany(large)

  const pages = [await promote(redis), await promote(redis), await promote(redis), await promote(redis)]

  expect(pages.map(({ promoted }) => promoted)).toEqual([2, 2, 2, 2])
})

it('streams whose keys would be the same do not share them: the second is refused', async () => {
  const { redis } = await startBehindProxy()
  await later(redis, 'a')
  const other = createPublisher({ stream: '{orders}', redis })

  await expect(other.publish(Reminder, { orderId: 'b' }, { delayMs: 0 })).rejects.toThrow('belong to stream orders')
  expect(await promoteDelays().promote({ redis, stream: '{orders}' })).toMatchObject({
    promoted: 0,
    refusals: [{ code: 'ERR_REDIS_REPLY' }],
  })
})

it('the flag says after each call when the first is due, and goes with the last', async () => {
  const { redis, raw } = await startBehindProxy()
  const publisher = createPublisher({ stream: 'orders', redis })
  const flag = async () => Number(await raw.get(NEXT))
  const b = (await later(redis, 'b', 2 * HOUR)).deliverAt.getTime()
  const seen = [await flag()]
  const a = (await later(redis, 'a', HOUR)).deliverAt.getTime()
  seen.push(await flag())
  await later(redis, 'c', 3 * HOUR)
  seen.push(await flag())
  await publisher.cancel('a')
  seen.push(await flag())

  expect(seen).toEqual([b, a, a, b])
  await passDelays(raw, 4 * HOUR)
  await promoteAll(redis)
  expect(await raw.exists(DELAYED, EVENTS, NEXT)).toBe(0)
})

describe('what ended', () => {
  it('is remembered in the hash of the hour, which ends by itself', async () => {
    const { redis, raw } = await startBehindProxy()
    await later(redis, 'a', 0)
    await promoteAll(redis)
    const hour = Math.floor(Date.now() / HOUR)
    const kept = ENDED[hour % 2] as string

    expect((await raw.hkeys(kept)).sort()).toEqual(['', 'ta'])
    expect(await raw.pexpiretime(kept)).toBe((hour + 3) * HOUR)
  })

  it('is remembered for the hour after, and dropped when its hash has its turn again', async () => {
    const { redis, raw } = await startBehindProxy()
    const publisher = createPublisher({ stream: 'orders', redis })
    const hour = Math.floor(Date.now() / HOUR)
    const [now = '', before = ''] = [ENDED[hour % 2], ENDED[(hour + 1) % 2]]
    await raw.hset(before, '', hour - 1, 'tbefore', 'p5')
    await raw.hset(now, '', hour - 2, 'tlong-ago', 'p5')

    const answers = [await publisher.cancel('before'), await publisher.cancel('long-ago')]
    await later(redis, 'new')
    await publisher.cancel('new')

    expect(answers).toEqual(['too-late', 'unknown'])
    expect((await raw.hkeys(now)).sort()).toEqual(['', 'tnew'])
  })
})
