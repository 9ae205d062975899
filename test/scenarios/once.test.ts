import type { Connection, DelayOptions, Observed } from 'millrace'
import { createPublisher, defineEvent, promoteDelays } from 'millrace'
import { describe, expect, it } from 'vitest'
import * as z from 'zod/mini'
import { DELAY_PLACES, delayInMemory, delayOverTcp, promoteAll } from '../support/delays.ts'
import { names } from '../support/scenario.ts'
import { watchCommands } from '../support/watch-commands.ts'

const Paid = defineEvent('Paid', { payload: z.object({ orderId: z.string() }) })
const HOUR = 3_600_000
const DAY = 24 * HOUR

const once = { eventId: 'e', deduplicateMs: DAY } as const
const aPublisher = (redis: Connection, options: object = {}) => createPublisher({ stream: 'orders', redis, ...options })
const paid = (orderId: string) => ({ orderId })

/** Orders in the stream, oldest first. */
function ordersOf(entries: readonly (readonly (readonly [string, string])[])[]): string[] {
  return entries.map((fields) => (JSON.parse(new Map(fields).get('payload') ?? '{}') as { orderId: string }).orderId)
}

describe.each(DELAY_PLACES)('promise 21: over %s', (_name, start) => {
  it('an id is added once; another publisher gets the first entry, as a duplicate', async () => {
    const { redis, entries } = await start()
    const first = await aPublisher(redis).publish(Paid, paid('a'), once)

    const again = await aPublisher(redis).publish(Paid, paid('b'), once)

    expect(first).toEqual({ entryId: expect.stringMatching(/^\d+-\d+$/), eventId: 'e' })
    expect(again).toEqual({ ...first, duplicate: true })
    expect(ordersOf(await entries())).toEqual(['a'])
  })

  it('the entry is that of a plain publish(), and is trimmed as that', async () => {
    const { redis, entries } = await start()
    const options = { producer: 'shop', maxLength: 2, exactTrimming: true }
    const publisher = aPublisher(redis, options)
    const always = { occurredAt: '2026-01-02T03:04:05Z', aggregateId: 'a', tenantId: 'ü 🦊' }
    for (const eventId of ['d', 'e']) await publisher.publish(Paid, paid('o'), { ...always, ...once, eventId })
    await aPublisher(redis, { ...options, maxLength: 3 }).publish(Paid, paid('o'), { ...always, eventId: 'e' })

    const [first, second, plain] = await entries()

    expect(second).toEqual(plain)
    expect(new Map(first).get('eventId')).toBe('d')
    await publisher.publish(Paid, paid('o'), { ...always, ...once, eventId: 'f' })
    expect(await entries()).toHaveLength(2)
  })

  it('once its window is over an id is added again, with a window of its own', async () => {
    const { redis, entries, pass } = await start()
    const publish = (orderId: string, eventId = 'e') =>
      aPublisher(redis).publish(Paid, paid(orderId), { ...once, eventId })
    const first = await publish('a')
    await pass(DAY - HOUR)

    expect(await publish('b')).toEqual({ ...first, duplicate: true })
    await pass(HOUR + 1)
    const second = await publish('c')
    expect(second).toEqual({ entryId: expect.any(String), eventId: 'e' })
    await pass(DAY - HOUR)
    expect(await publish('d')).toEqual({ ...second, duplicate: true })
    expect(ordersOf(await entries())).toEqual(['a', 'c'])
  })

  it('deduplicateMs of the publisher holds for all its events, but for those that say otherwise', async () => {
    const { redis, entries, pass } = await start()
    const publisher = aPublisher(redis, { deduplicateMs: HOUR })
    await publisher.publish(Paid, paid('a'), { eventId: 'hour' })
    await publisher.publish(Paid, paid('b'), { eventId: 'day', deduplicateMs: DAY })
    await pass(HOUR + 1)

    const [hour, day] = await publisher.publishMany([
      [Paid, paid('c'), { eventId: 'hour' }],
      [Paid, paid('d'), { eventId: 'day' }],
    ])

    expect([hour.duplicate, day.duplicate, ordersOf(await entries())]).toEqual([undefined, true, ['a', 'b', 'c']])
  })

  it('without deduplicateMs, and under other ids, events are added as ever', async () => {
    const { redis, entries } = await start()
    const publisher = aPublisher(redis)
    await publisher.publish(Paid, paid('a'), once)
    const many = [
      await publisher.publish(Paid, paid('b'), { eventId: 'e' }),
      await publisher.publish(Paid, paid('c'), { ...once, eventId: 'E' }),
      await publisher.publish(Paid, paid('d'), { deduplicateMs: DAY }),
      await publisher.publish(Paid, paid('e'), { deduplicateMs: DAY }),
    ]

    expect(many.filter(({ duplicate }) => duplicate)).toEqual([])
    expect(await entries()).toHaveLength(5)
  })

  it('publishMany() adds an id once that it is given twice, and answers each in its place', async () => {
    const { redis, entries } = await start()
    const publisher = aPublisher(redis)

    const [a, b, c, plain, last] = await publisher.publishMany([
      [Paid, paid('a'), once],
      [Paid, paid('b'), { ...once, eventId: 'f' }],
      [Paid, paid('c'), once],
      [Paid, paid('d'), { eventId: 'e' }],
      [Paid, paid('e'), once],
    ])

    expect([c, last]).toEqual([
      { ...a, duplicate: true },
      { ...a, duplicate: true },
    ])
    expect([a, b, plain].map(({ duplicate }) => duplicate)).toEqual([undefined, undefined, undefined])
    expect(ordersOf(await entries())).toEqual(['a', 'b', 'd'])
  })

  it('of 50 publishers at once, one adds the event, and all get its entry', async () => {
    const { redis, entries } = await start()

    const answers = await Promise.all(names('o', 50).map((id) => aPublisher(redis).publish(Paid, paid(id), once)))

    expect(answers.filter(({ duplicate }) => !duplicate)).toHaveLength(1)
    expect(new Set(answers.map(({ entryId }) => entryId)).size).toBe(1)
    expect(await entries()).toHaveLength(1)
  })

  it('streams know nothing of each other’s ids', async () => {
    const { redis } = await start()
    const streams = ['orders', '{orders}', '{orders}:', '{orders}::', '{orders}:more', 'a{orders}', '{orders}a']
    const publish = (stream: string) => createPublisher({ stream, redis }).publish(Paid, paid('o'), once)

    const first = await Promise.all(streams.map(publish))
    const again = await Promise.all(streams.map(publish))

    expect(first.filter(({ duplicate }) => duplicate)).toEqual([])
    expect(again).toEqual(first.map((published) => ({ ...published, duplicate: true })))
  })

  it('what is delayed on stream orders keeps nothing from stream {orders}, which shares its keys', async () => {
    const { redis } = await start()
    await aPublisher(redis).publish(Paid, paid('o'), { eventId: 'e', delayMs: HOUR })
    const publisher = createPublisher({ stream: '{orders}', redis })

    const first = await publisher.publish(Paid, paid('o'), once)

    expect(first).toEqual({ entryId: expect.any(String), eventId: 'e' })
    expect(await publisher.publish(Paid, paid('o'), once)).toEqual({ ...first, duplicate: true })
  })

  it.each(['dlq', 'due', 'slot:poller-0', ':', '*', '{x}', 'ü🦊', 'a b\r\nc', 'x'.repeat(10_000)])(
    'an id may be any text: %j',
    async (eventId) => {
      const { redis, entries } = await start()
      const publisher = aPublisher(redis)

      const first = await publisher.publish(Paid, paid('o'), { ...once, eventId })

      expect(await publisher.publish(Paid, paid('o'), { ...once, eventId })).toEqual({ ...first, duplicate: true })
      expect(await entries()).toHaveLength(1)
    },
  )
})

describe.each(DELAY_PLACES)('promise 21: delays over %s', (_name, start) => {
  const later: DelayOptions = { ...once, delayMs: HOUR }

  it('a delayed event keeps events for now from being added, until its window is over', async () => {
    const { redis, entries, delayed, pass } = await start()
    const publisher = aPublisher(redis)
    const first = await publisher.publish(Paid, paid('a'), later)
    const repeat = { ...first, duplicate: true }

    expect(first).toEqual({ eventId: 'e', deliverAt: expect.any(Date) })
    expect(await publisher.publish(Paid, paid('b'), { ...later, delayMs: 5 })).toEqual(repeat)
    expect(await publisher.publish(Paid, paid('c'), once)).toEqual(repeat)
    await pass(HOUR + 1)
    expect(await promoteAll(redis)).toBe(1)
    expect(await publisher.publish(Paid, paid('d'), once)).toEqual(repeat)
    expect(await publisher.publish(Paid, paid('e'), later)).toEqual(repeat)
    expect([ordersOf(await entries()), await delayed()]).toEqual([['a'], 0])
    await pass(DAY)
    expect(await publisher.publish(Paid, paid('f'), once)).not.toHaveProperty('duplicate')
    expect(ordersOf(await entries())).toEqual(['a', 'f'])
  })

  it('an entry keeps a delayed event from being added, which answers its id', async () => {
    const { redis, delayed } = await start()
    const publisher = aPublisher(redis)
    const first = await publisher.publish(Paid, paid('a'), once)

    expect(await publisher.publish(Paid, paid('b'), later)).toEqual({ ...first, duplicate: true })
    expect(await delayed()).toBe(0)
  })

  it('what is delayed counts while it waits, also without a window or beyond it', async () => {
    const { redis, entries, pass } = await start()
    const publisher = aPublisher(redis)
    const plain = await publisher.publish(Paid, paid('a'), { eventId: 'plain', delayMs: DAY })
    const brief = await publisher.publish(Paid, paid('b'), { eventId: 'brief', delayMs: DAY, deduplicateMs: HOUR })
    await pass(2 * HOUR)

    for (const first of [plain, brief]) {
      const { eventId } = first
      const answers = [
        await publisher.publish(Paid, paid('c'), { ...once, eventId }),
        await publisher.publish(Paid, paid('c'), { ...later, eventId }),
      ]
      expect(answers).toEqual([
        expect.objectContaining({ duplicate: true }),
        expect.objectContaining({ duplicate: true }),
      ])
    }
    expect(await publisher.publish(Paid, paid('d'), { eventId: 'plain', delayMs: DAY })).not.toHaveProperty('duplicate')
    expect(await entries()).toEqual([])
  })

  it.each(['now', 'later'])('a cancelled one may be published again at once: %s', async (when) => {
    const { redis, entries, delayed } = await start()
    const publisher = aPublisher(redis)
    await publisher.publish(Paid, paid('a'), later)
    expect(await publisher.cancel('e')).toBe('cancelled')

    const again = await publisher.publish(Paid, paid('b'), when === 'now' ? once : later)

    expect(again).not.toHaveProperty('duplicate')
    expect([(await entries()).length, await delayed()]).toEqual(when === 'now' ? [1, 0] : [0, 1])
    expect(await publisher.publish(Paid, paid('c'), once)).toEqual({ ...again, duplicate: true })
  })

  it.each([
    ['now', once],
    ['later', later],
  ])('a repeat for %s of what waits without a window is one for its own window', async (_when, repeat) => {
    const { redis, entries, pass } = await start()
    const publisher = aPublisher(redis)
    const first = await publisher.publish(Paid, paid('a'), { eventId: 'e', delayMs: HOUR })

    expect(await publisher.publish(Paid, paid('b'), repeat)).toEqual({ ...first, duplicate: true })
    await pass(HOUR + 1)
    await promoteAll(redis)
    expect(await publisher.publish(Paid, paid('c'), once)).toEqual({ ...first, duplicate: true })
    expect(ordersOf(await entries())).toEqual(['a'])
    await pass(DAY)
    expect(await publisher.publish(Paid, paid('d'), once)).not.toHaveProperty('duplicate')
  })

  it('once it is cancelled, what waited without a window may be published again, whatever met it', async () => {
    const { redis, entries } = await start()
    const publisher = aPublisher(redis)
    await publisher.publish(Paid, paid('a'), { eventId: 'e', delayMs: HOUR })
    await publisher.publish(Paid, paid('b'), once)
    await publisher.cancel('e')

    expect(await publisher.publish(Paid, paid('c'), once)).not.toHaveProperty('duplicate')
    expect(ordersOf(await entries())).toEqual(['c'])
  })

  it('delays of stream {orders} are refused while one of stream orders waits', async () => {
    const { redis, delayed } = await start()
    const other = createPublisher({ stream: '{orders}', redis })
    await aPublisher(redis).publish(Paid, paid('a'), later)
    const refusal = /the keys of delayed events belong to stream \S*orders$/

    await expect(other.publish(Paid, paid('b'), { delayMs: HOUR })).rejects.toThrow(refusal)
    await expect(other.publish(Paid, paid('b'), later)).rejects.toThrow(refusal)
    await expect(other.cancel('e')).rejects.toThrow(refusal)
    expect((await promoteDelays().promote({ redis, stream: '{orders}' })).refusals[0]?.message).toMatch(refusal)
    expect(await delayed()).toBe(1)
    await aPublisher(redis).cancel('e')
    expect(await other.publish(Paid, paid('b'), { eventId: 'b', delayMs: HOUR })).not.toHaveProperty('duplicate')
  })

  it('cancelling a delayed event leaves the marker of another event of its id', async () => {
    const { redis, entries } = await start()
    const publisher = aPublisher(redis)
    const first = await publisher.publish(Paid, paid('a'), once)
    await publisher.publish(Paid, paid('b'), { eventId: 'e', delayMs: HOUR })

    expect(await publisher.cancel('e')).toBe('cancelled')

    expect(await publisher.publish(Paid, paid('c'), once)).toEqual({ ...first, duplicate: true })
    expect(await entries()).toHaveLength(1)
  })

  it('publishMany() mixes all kinds, and answers each in its place', async () => {
    const { redis, entries, delayed } = await start()

    const answers = await aPublisher(redis).publishMany([
      [Paid, paid('a'), { ...later, eventId: 'x' }],
      [Paid, paid('b'), once],
      [Paid, paid('c'), { ...once, eventId: 'x' }],
      [Paid, paid('d'), later],
      [Paid, paid('e')],
    ])

    expect(answers.map((answer) => Object.keys(answer).sort().join())).toEqual([
      'deliverAt,eventId',
      'entryId,eventId',
      'deliverAt,duplicate,eventId',
      'duplicate,entryId,eventId',
      'entryId,eventId',
    ])
    expect([ordersOf(await entries()), await delayed()]).toEqual([['b', 'e'], 1])
  })
})

describe('in memory', () => {
  it('cancelling leaves the marker of an earlier event that was due at the same time', async () => {
    const { redis, now, pass } = await delayInMemory()
    const publisher = aPublisher(redis)
    const deliverAt = new Date(now())
    const first = await publisher.publish(Paid, paid('a'), { ...once, deliverAt })
    await promoteAll(redis)
    await pass(3 * HOUR)
    await publisher.publish(Paid, paid('b'), { eventId: 'e', deliverAt })

    expect(await publisher.cancel('e')).toBe('cancelled')
    expect(await publisher.publish(Paid, paid('c'), once)).toEqual({ ...first, duplicate: true })
  })
})

describe('an observer', () => {
  it('is notified of duplicates, with the places of the first ones', async () => {
    const { redis } = await delayInMemory()
    const seen: Observed['published'][] = []
    const publisher = aPublisher(redis, { observe: { published: (one: Observed['published']) => void seen.push(one) } })

    const [{ entryId }] = await publisher.publishMany([
      [Paid, paid('a'), once],
      [Paid, paid('b'), once],
    ])

    expect(seen).toMatchObject([{ entryIds: [entryId, entryId], duplicates: new Set([1]) }])
  })
})

describe('what is no window', () => {
  const refusals: readonly (readonly [rule: RegExp, options: object])[] = [
    [/deduplicateMs must be >= 1, got 0/, { deduplicateMs: 0 }],
    [/deduplicateMs must be >= 1, got NaN/, { deduplicateMs: Number.NaN }],
    [/deduplicateMs must be a whole number, got 1.5/, { deduplicateMs: 1.5 }],
    [/deduplicateMs must be a number, got string/, { deduplicateMs: '5' }],
    [/deduplicateMs must be a number, got null/, { deduplicateMs: null }],
    [/deduplicateMs must be <= 31622400000, got 31622400001/, { deduplicateMs: 366 * DAY + 1 }],
    [/deduplicateMs must be <= 31622400000, got Infinity/, { deduplicateMs: Number.POSITIVE_INFINITY }],
    [/the eventId of an event with deduplicateMs must be text of whole characters/, { ...once, eventId: '\ud800' }],
  ]

  it.each(refusals)('is refused before anything is sent: %s', async (rule, options) => {
    const { redis, entries } = await delayInMemory()
    const publishing = aPublisher(redis).publishMany([
      [Paid, paid('o')],
      [Paid, paid('o'), options],
    ])

    await expect(publishing).rejects.toThrow(rule)
    expect(await entries()).toEqual([])
  })
})

describe('what is sent', () => {
  it('is one script call with deduplicateMs, also for plain events among many, the first with text', async () => {
    const { redis, scenario } = await delayOverTcp()
    const publisher = aPublisher(redis)
    await publisher.publish(Paid, paid('o'), once)
    const watch = await watchCommands(scenario.server.url)
    const before = (await watch.sent()).length

    await publisher.publish(Paid, paid('o'), once)
    await publisher.publishMany([
      [Paid, paid('o')],
      [Paid, paid('o'), { ...once, eventId: 'f' }],
      [Paid, paid('o'), once],
    ])

    expect((await watch.sent()).slice(before).map(([name]) => name)).toEqual(['evalsha', 'eval', 'evalsha', 'evalsha'])
  })

  it('is XADD in a request without a window, whatever others of the call have', async () => {
    const { redis, scenario } = await delayOverTcp()
    const watch = await watchCommands(scenario.server.url)
    const many = names('o', 1_501).map((id, n) => [Paid, paid(id), n === 1_500 ? once : {}] as const)

    await aPublisher(redis).publishMany(many)

    const sent = (await watch.sent()).map(([name]) => name).filter((name) => name !== 'info')
    expect([sent.slice(0, 1_000), sent.slice(1_000, 1_002)]).toEqual([Array(1_000).fill('xadd'), ['eval', 'evalsha']])
  })
})
