import { createHash } from 'node:crypto'
import type { Redis } from 'ioredis'
import { createPublisher, defineEvent, promoteDelays } from 'millrace'
import { expect, it, vi } from 'vitest'
import * as z from 'zod/mini'
import { type PagedEvent, pagedEvents } from '../support/delayed-pages.ts'
import { countDelayed, DELAYED, delayOverTcp, delaysOn, passDelays, promoteAll } from '../support/delays.ts'

const HOUR = 3_600_000
const Reminder = defineEvent('Reminder', { payload: z.object({ orderId: z.string() }) })

const EVENTS = `${DELAYED}:events`
const PAGE_BYTES = 8_192
const note = 'n'.repeat(200)

async function start() {
  const { redis, scenario } = await delayOverTcp()
  const { raw } = scenario
  const publisher = createPublisher({ stream: 'orders', redis, maxLength: Infinity })
  const later = (events: readonly (readonly [id: string, delayMs: number])[], orderId = note) =>
    publisher.publishMany(events.map(([eventId, delayMs]) => [Reminder, { orderId }, { eventId, delayMs }] as const))
  return { raw, redis, publisher, later }
}

/** Numbers that look random, and are the same each time. */
function numbers(seed: number): (below: number) => number {
  let at = seed
  return (below) => {
    at = (at * 48_271) % 2_147_483_647
    return at % below
  }
}

const sha1 = (text: string) => createHash('sha1').update(text).digest('hex')
const idsOf = (events: readonly PagedEvent[]) => events.map(({ eventId }) => eventId)
const pagesOf = (events: readonly PagedEvent[]) => new Set(events.map(({ page }) => page)).size

async function largestPage(raw: Redis): Promise<number> {
  const pages = await raw.zrange(DELAYED, '0', '-1')
  return Math.max(...(await Promise.all(pages.map((page) => raw.hstrlen(EVENTS, `p${page}`)))))
}

const ORDERS: readonly [how: string, delayOf: (n: number, random: (below: number) => number) => number][] = [
  ['at random times', (_n, random) => HOUR + random(365 * 24 * HOUR)],
  ['one after the other', (n) => HOUR + n * 1_000],
  ['each before the last', (n) => 10 * HOUR - n * 1_000],
  ['at a few times', (_n, random) => (1 + random(3)) * HOUR],
]

it.each(ORDERS)('3,000 events due %s fill pages, are found by id, and come in order', async (_how, delayOf) => {
  const { raw, redis, publisher, later } = await start()
  const random = numbers(7)
  const events = Array.from({ length: 3_000 }, (_, n) => [`o-${n}`, delayOf(n, random)] as const)
  await later(events)

  const held = await pagedEvents(raw)
  expect([new Set(idsOf(held)).size, held.length, await countDelayed(raw)]).toEqual([3_000, 3_000, 3_000])
  expect(await largestPage(raw)).toBeLessThanOrEqual(PAGE_BYTES)
  expect(pagesOf(held)).toBeLessThan((3_000 * 400) / (PAGE_BYTES / 2))
  // each of them waits, so that nothing is added
  await later(events.map(([id]) => [id, 5]))
  expect(await countDelayed(raw)).toBe(3_000)
  for (const [id] of events.slice(0, 20)) expect(await publisher.cancel(id)).toBe('cancelled')

  await passDelays(raw, 366 * 24 * HOUR)
  const dues = new Map((await pagedEvents(raw)).map(({ eventId, due }) => [eventId, due]))
  expect(await promoteAll(redis)).toBe(2_980)
  const came = (await delaysOn(raw).entries()).map((fields) => dues.get(String(new Map(fields).get('eventId'))) ?? NaN)
  expect(came).toEqual([...dues.values()].sort((a, b) => a - b))
  expect(await raw.exists(DELAYED, EVENTS, `${DELAYED}:next`)).toBe(0)
})

it('pages of which most events were cancelled are joined', async () => {
  const { raw, redis, publisher, later } = await start()
  const random = numbers(3)
  const ids = Array.from({ length: 2_000 }, (_, n) => `o-${n}`)
  await later(ids.map((id) => [id, HOUR + random(30 * 24 * HOUR)]))
  const before = pagesOf(await pagedEvents(raw))

  const gone = ids.filter((_, n) => n % 20 !== 0)
  for (let n = 0; n < gone.length; n += 100) await Promise.all(gone.slice(n, n + 100).map((id) => publisher.cancel(id)))

  const left = await pagedEvents(raw)
  expect([idsOf(left).sort(), await countDelayed(raw)]).toEqual([ids.filter((_, n) => n % 20 === 0).sort(), 100])
  expect(pagesOf(left)).toBeLessThan(before / 4)
  await passDelays(raw, 31 * 24 * HOUR)
  expect(await promoteAll(redis)).toBe(100)
})

it('random calls leave the events that they should, however pages are split and joined', async () => {
  const { raw, redis, publisher, later } = await start()
  const random = numbers(11)
  const waiting = new Set<string>()
  for (let round = 0; round < 60; round += 1) {
    const events = Array.from({ length: 40 }, () => [`o-${random(4_000)}-${round}`, 1 + random(20) * HOUR] as const)
    await later(events, 'n'.repeat(1 + random(3_000)))
    for (const [id] of events) waiting.add(id)
    const ids = [...waiting]
    const cancelled = new Set(Array.from({ length: 15 }, () => ids[random(ids.length)] as string))
    expect(new Set(await Promise.all([...cancelled].map((id) => publisher.cancel(id))))).toEqual(new Set(['cancelled']))
    for (const id of cancelled) waiting.delete(id)
    if (round % 10 !== 9) continue
    await passDelays(raw, HOUR)
    const due = (await pagedEvents(raw)).filter((event) => event.due <= Date.now())
    expect(await promoteAll(redis)).toBe(due.length)
    for (const { eventId } of due) waiting.delete(eventId)
    expect(idsOf(await pagedEvents(raw)).sort()).toEqual([...waiting].sort())
    expect(await countDelayed(raw)).toBe(waiting.size)
  }
  expect(waiting.size).toBeGreaterThan(500)
})

it('ids that share their place in the index are kept apart', async () => {
  const { raw, redis, publisher, later } = await start()
  // SHA-1 of `t` and the id begins with the same four bytes
  const pairs = [
    ['c-28791', 'c-48930'],
    ['c-6287', 'c-156621'],
    ['c-6842', 'c-156747'],
  ] as const
  const starts = pairs.map((ids) => new Set(ids.map((id) => sha1(`t${id}`).slice(0, 8))).size)
  expect(starts).toEqual([1, 1, 1])
  // on one page, and on two
  await later(pairs.flatMap(([a, b], n) => [[a, HOUR] as const, [b, HOUR * (1 + n)] as const]))
  await later(Array.from({ length: 200 }, (_, n) => [`o-${n}`, 90 * 60_000] as const))

  for (const [a, b] of pairs) {
    expect([await publisher.cancel(a), await publisher.cancel(a)]).toEqual(['cancelled', 'already-cancelled'])
    await later([[b, 5]])
    expect((await pagedEvents(raw)).filter(({ eventId }) => eventId === a || eventId === b)).toHaveLength(1)
  }

  await later(pairs.map(([a]) => [a, HOUR]))
  await passDelays(raw, 4 * HOUR)
  expect(await promoteAll(redis)).toBe(206)
  for (const id of pairs.flat()) expect(await publisher.cancel(id)).toBe('too-late')
})

it.each(['5', '5.5', '-5', '-inf'])(
  'a page that somebody else wrote, %s, is set aside, and holds up no others',
  async (score) => {
    const { raw, redis, later } = await start()
    await later([['a', HOUR]])
    await raw.zadd(DELAYED, score, 'something')

    const page = await promoteDelays().promote({ redis, stream: 'orders' })

    expect(page).toMatchObject({ promoted: 0, unreadable: 1, refusals: [] })
    expect([await raw.zcount(DELAYED, '9e15', '+inf'), idsOf(await pagedEvents(raw))]).toEqual([1, ['a']])
  },
)

it('a page whose score somebody lowered has its events when they are due', async () => {
  const { raw, redis, later } = await start()
  await later([['a', HOUR]])
  const [{ page, due } = { page: '', due: 0 }] = await pagedEvents(raw)
  // its event is due as before, which is later than its score says
  const ahead = Buffer.from([0x80, 0x80, 0x40])
  const text = (await raw.hgetBuffer(EVENTS, `p${page}`)) as Buffer
  await raw.hset(EVENTS, `p${page}`, Buffer.concat([ahead, text.subarray(1)]))
  await raw.zadd(DELAYED, due - HOUR - 1, page)

  expect(await promoteDelays().promote({ redis, stream: 'orders' })).toMatchObject({ promoted: 0, unreadable: 0 })

  const [event] = await pagedEvents(raw)
  expect(event?.due).toBe(due - HOUR - 1 + 0x40 * 128 * 128)
  expect(await raw.get(`${DELAYED}:next`)).toBe(String(event?.due))
  await passDelays(raw, HOUR)
  expect(await promoteAll(redis)).toBe(1)
})

const SIZES = [40, 200, 500, 600, 700, 1_000, 1_500, 2_000, 3_000, 4_000, 8_000, 16_000, 60_000]
const TIMES = [
  ['at random times', (_n, random) => HOUR + random(365 * 24 * HOUR)],
  ['one after the other', (n) => HOUR + n * 1_000],
] satisfies typeof ORDERS

it.each(TIMES)(
  'an event due %s takes at most 200 bytes more than its payload, of whatever size',
  async (_how, delayOf) => {
    const { raw, publisher } = await start()
    const random = numbers(5)
    const taken: number[] = []
    for (const size of SIZES) {
      await raw.flushall()
      const payload = { orderId: 'x'.repeat(size - JSON.stringify({ orderId: '' }).length) }
      const perCall = Math.min(1_000, Math.ceil(2_000_000 / size))
      const calls = Math.ceil(Math.max(2_000, Math.min(8_000, 30_000_000 / size)) / perCall)
      const some = (call: number) =>
        publisher.publishMany(
          Array.from({ length: perCall }, (_, n) => {
            return [Reminder, payload, { delayMs: delayOf(call * perCall + n, random) }] as const
          }),
        )
      await some(0)
      const before = await memoryOfKeys(raw)
      for (let call = 1; call <= calls; call += 1) await some(call)
      taken.push(((await memoryOfKeys(raw)) - before) / (calls * perCall) - size)
    }

    expect(Math.max(...taken)).toBeLessThan(200)
    // more than that is in each: its id, its type, when it was published and when it is due
    expect(Math.min(...taken)).toBeGreaterThan(40)
  },
)

/** Bytes in use, without what connections take. */
async function memoryOfKeys(raw: Redis): Promise<number> {
  const info = await raw.info('memory')
  const bytesOf = (name: string) => Number(new RegExp(`${name}:(\\d+)`).exec(info)?.[1])
  return bytesOf('used_memory') - bytesOf('mem_clients_normal')
}

/** Fields of events that are kept apart from their pages: of a large value, and of ends of such values. */
async function fieldsApart(raw: Redis): Promise<readonly [large: number, ends: number]> {
  const fields = await raw.hkeysBuffer(EVENTS)
  const [large, ends] = ['c', 's'].map((kind) =>
    fields.filter((field) => field.length > 1 && `${field}`.startsWith(kind)),
  )
  return [large?.length ?? 0, ends?.length ?? 0]
}

it('what is kept apart comes as it was published, and is gone with its event', async () => {
  const { raw, redis, publisher } = await start()
  const random = numbers(23)
  const Noted = defineEvent('Noted', { payload: z.object({ text: z.string() }) })
  // around the sizes where a value is cut, and where its end is kept apart as well
  const sizes = [511, 512, 513, 630, 631, 886, 887, 1_078, 1_079, 2_038, 65_526, 65_536, 90_000, 1_000_000]
  const events = Array.from({ length: 400 }, (_, n) => {
    const text = `${n}é\u0000"`.padEnd((sizes[n] ?? 400 + random(12_000)) - 11, `${n}`)
    const note = 'a'.repeat(random(3) * 500)
    return { eventId: `o-${n}`, text, note, delayMs: HOUR + random(24 * HOUR) }
  })
  await publisher.publishMany(
    events.map(({ eventId, text, note, delayMs }) => {
      const occurredAt = new Date(Date.UTC(2026, random(12), 1 + random(28), random(24), random(60), 0, random(1_000)))
      return [Noted, { text }, { eventId, delayMs, occurredAt, attributes: { note } }] as const
    }),
  )
  const held = await pagedEvents(raw)
  const apart = held.filter(({ body }) => body[1] === '+'.charCodeAt(0))
  expect(apart.length).toBeGreaterThan(350)
  expect(await fieldsApart(raw)).toEqual([apart.length, expect.any(Number)])
  for (const { eventId } of events.slice(300)) expect(await publisher.cancel(eventId)).toBe('cancelled')

  await passDelays(raw, 26 * HOUR)
  expect(await promoteAll(redis)).toBe(300)

  const came = (await delaysOn(raw).entries()).map((fields) => new Map(fields))
  const values = came.map((fields) => [
    fields.get('eventId'),
    JSON.parse(`${fields.get('payload')}`),
    fields.get('note'),
  ])
  const published = events.slice(0, 300).map(({ eventId, text, note }) => [eventId, { text }, note])
  expect(new Set(values.map((each) => JSON.stringify(each)))).toEqual(
    new Set(published.map((each) => JSON.stringify(each))),
  )
  expect(await raw.exists(EVENTS)).toBe(0)
})

it('what is apart of an event goes with it while others wait', async () => {
  const { raw, redis, later, publisher } = await start()
  await later([['stays', 100 * HOUR]], 'n'.repeat(5_000))
  const ids = Array.from({ length: 60 }, (_, n) => `o-${n}`)
  await later(
    ids.map((id) => [id, HOUR]),
    'n'.repeat(5_000),
  )
  for (const id of ids.slice(0, 30)) await publisher.cancel(id)
  expect(await fieldsApart(raw)).toEqual([31, expect.any(Number)])

  await passDelays(raw, 2 * HOUR)
  expect(await promoteAll(redis)).toBe(30)

  expect(await fieldsApart(raw)).toEqual([1, 1])
})

it('a promoter takes back what an older one set aside', async () => {
  const { raw, redis, later } = await start()
  await later([['large', HOUR]], 'n'.repeat(5_000))
  await passDelays(raw, 2 * HOUR)
  const [{ page } = { page: '' }] = await pagedEvents(raw)
  await raw.zincrby(DELAYED, 9e15, page)
  await later([['small', 0]])

  expect(await promoteAll(redis)).toBe(2)

  expect(await raw.exists(DELAYED, EVENTS)).toBe(0)
})

it('a run takes back all that an older promoter set aside, however much that is', async () => {
  const { raw, redis, later } = await start()
  for (let n = 0; n < 25; n++) {
    await later([[`large-${n}`, HOUR]], 'n'.repeat(5_000))
    const page = await raw.zrange(DELAYED, '0', '0')
    await raw.zincrby(DELAYED, 9e15 - 2 * HOUR, page[0] as string)
  }
  await later([['small', 0]])

  expect(await promoteAll(redis)).toBe(26)

  expect(await raw.exists(DELAYED, EVENTS)).toBe(0)
})

it('a promoter takes back what an older one set aside, also behind many that stay unreadable', async () => {
  const { raw, redis, later } = await start()
  await later(
    Array.from({ length: 30 }, (_, n) => [`lost-${n}`, HOUR]),
    'n'.repeat(5_000),
  )
  for (const field of await raw.hkeysBuffer(EVENTS)) if (`${field}`.startsWith('c')) await raw.hdel(EVENTS, field)
  await passDelays(raw, 2 * HOUR)
  expect(await promoteDelays().promote({ redis, stream: 'orders' })).toMatchObject({ unreadable: 30 })
  await later([['large', HOUR]], 'n'.repeat(5_000))
  const { page } = (await pagedEvents(raw)).find(({ eventId }) => eventId === 'large') as PagedEvent
  await passDelays(raw, HOUR + 1_000)
  await raw.zincrby(DELAYED, 9e15, page)

  await vi.waitUntil(async () => (await promoteAll(redis)) === 1, { timeout: 5_000, interval: 1 })

  expect(await countDelayed(raw)).toBe(30)
})

it('an event of which something apart is lost is set aside, and can be cancelled', async () => {
  const { raw, redis, later, publisher } = await start()
  await later(
    [
      ['a', HOUR],
      ['b', HOUR],
    ],
    'n'.repeat(5_000),
  )
  const field = (await raw.hkeysBuffer(EVENTS)).find((name) => name.length > 1 && `${name}`.startsWith('s')) as Buffer
  await raw.hdel(EVENTS, field)
  await passDelays(raw, 2 * HOUR)

  expect(await promoteDelays().promote({ redis, stream: 'orders' })).toMatchObject({ promoted: 0, unreadable: 2 })

  expect([await publisher.cancel('a'), await publisher.cancel('b')]).toEqual(['cancelled', 'cancelled'])
  expect(await raw.exists(EVENTS)).toBe(0)
})
