import type { Connection, DelayOptions } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, on, poll, promoteDelays } from 'millrace'
import { describe, expect, it } from 'vitest'
import * as z from 'zod/mini'
import { DELAY_PLACES, delayInMemory, promoteAll } from '../support/delays.ts'
import { names } from '../support/scenario.ts'

const Reminder = defineEvent('Reminder', { payload: z.object({ orderId: z.string() }) })
const HOUR = 3_600_000
const DAY = 24 * HOUR

const aPublisher = (redis: Connection, options: object = {}) => createPublisher({ stream: 'orders', redis, ...options })

/** What became of each publication, as the ids of orders in the stream. */
function ordersOf(entries: readonly (readonly (readonly [string, string])[])[]): string[] {
  return entries.map((fields) => (JSON.parse(new Map(fields).get('payload') ?? '{}') as { orderId: string }).orderId)
}

describe.each(DELAY_PLACES)('over %s', (_name, start) => {
  it('a delayed event has no entry until it is due, then that of a publish', async () => {
    const place = await start()
    const always = { eventId: 'e-1', occurredAt: '2026-01-02T03:04:05Z', aggregateId: 'a', tenantId: 'ü' }
    const publisher = aPublisher(place.redis, { producer: 'shop' })
    await publisher.publish(Reminder, { orderId: 'o' }, { ...always, delayMs: DAY })

    expect([await promoteAll(place.redis), await place.entries(), await place.delayed()]).toEqual([0, [], 1])
    await place.pass(DAY + 1)
    expect(await promoteAll(place.redis)).toBe(1)
    await publisher.publish(Reminder, { orderId: 'o' }, always)
    const [delayed, published] = await place.entries()
    expect(delayed).toEqual(published)
    expect(await place.delayed()).toBe(0)
  })

  it('publish() answers the event id and when it is due, by the server’s clock', async () => {
    const place = await start()
    const publisher = aPublisher(place.redis)
    const byMs = await publisher.publish(Reminder, { orderId: 'o' }, { eventId: 'e', delayMs: 1_500.5 })
    const at = new Date(place.now() + DAY)
    const byDate = await publisher.publish(Reminder, { orderId: 'o' }, { deliverAt: at })

    expect(Object.keys(byMs).sort()).toEqual(['deliverAt', 'eventId'])
    expect(byMs.eventId).toBe('e')
    expect(Math.abs(byMs.deliverAt.getTime() - place.now() - 1_501)).toBeLessThan(1_000)
    expect(byDate).toEqual({ eventId: expect.stringMatching(/^[0-9a-f-]{36}$/), deliverAt: at })
  })

  it('due events come in due order, whatever the order in which they were published', async () => {
    const place = await start()
    const at = (n: number) => ({ deliverAt: new Date(place.now() + n * 1_000) })
    const order = [5, 3, 9, 1, 7, 2, 8, 4, 6]
    await aPublisher(place.redis).publishMany(order.map((n) => [Reminder, { orderId: String(n) }, at(n)] as const))
    await place.pass(6_500)

    await promoteAll(place.redis)

    expect(ordersOf(await place.entries())).toEqual(['1', '2', '3', '4', '5', '6'])
    await place.pass(10_000)
    await promoteAll(place.redis)
    expect(ordersOf(await place.entries()).slice(6)).toEqual(['7', '8', '9'])
  })

  it('a time of the past is due now', async () => {
    const place = await start()
    const deliverAt = new Date(-1)

    const published = await aPublisher(place.redis).publish(Reminder, { orderId: 'o' }, { deliverAt })

    expect([published.deliverAt, await promoteAll(place.redis)]).toEqual([new Date(0), 1])
  })

  it('a time beyond 366 days is refused by the server’s clock, and nothing is delayed', async () => {
    const place = await start()
    const deliverAt = new Date(place.now() + 366 * DAY + 10_000)
    const publishing = aPublisher(place.redis).publish(Reminder, { orderId: 'o' }, { deliverAt })

    await expect(publishing).rejects.toThrow(/^Cannot publish 1 of 1 .* deliverAt must be within 366 days/)
    expect(await place.delayed()).toBe(0)
  })

  it('publishMany() writes what is for now, delays the rest, and answers each in its place', async () => {
    const place = await start()

    const answers = await aPublisher(place.redis).publishMany([
      [Reminder, { orderId: 'a' }],
      [Reminder, { orderId: 'b' }, { delayMs: HOUR }],
      [Reminder, { orderId: 'c' }],
    ])

    expect(answers.map((answer) => Object.keys(answer).sort().join())).toEqual([
      'entryId,eventId',
      'deliverAt,eventId',
      'entryId,eventId',
    ])
    expect([ordersOf(await place.entries()), await place.delayed()]).toEqual([['a', 'c'], 1])
  })

  it('an event id waits once: publishing it again answers until when, and changes nothing', async () => {
    const place = await start()
    const publisher = aPublisher(place.redis)
    const first = await publisher.publish(Reminder, { orderId: 'first' }, { eventId: 'e', delayMs: HOUR })

    const again = await publisher.publish(Reminder, { orderId: 'again' }, { eventId: 'e', delayMs: 2 * HOUR })

    expect(again).toEqual(first)
    await place.pass(HOUR + 1)
    await promoteAll(place.redis)
    await publisher.publish(Reminder, { orderId: 'late' }, { eventId: 'e', delayMs: 0 })
    expect([await promoteAll(place.redis), ordersOf(await place.entries())]).toEqual([0, ['first']])
  })

  it('cancel() says what became of the event, and a cancelled one may be published again', async () => {
    const place = await start()
    const { redis } = place
    const publisher = aPublisher(redis)
    const later = (eventId: string) => publisher.publish(Reminder, { orderId: eventId }, { eventId, delayMs: HOUR })
    await Promise.all(['a', 'b'].map(later))

    const answers = [await publisher.cancel('a'), await publisher.cancel('a'), await publisher.cancel('nobody')]
    await place.pass(HOUR + 1)
    await promoteAll(redis)

    expect([...answers, await aPublisher(redis).cancel('b')]).toEqual([
      'cancelled',
      'already-cancelled',
      'unknown',
      'too-late',
    ])
    expect(ordersOf(await place.entries())).toEqual(['b'])
    await later('a')
    expect([await place.delayed(), await publisher.cancel('a'), await place.delayed()]).toEqual([1, 'cancelled', 0])
  })

  it('of many cancel() at once, one answers that it cancelled the event', async () => {
    const place = await start()
    const publisher = aPublisher(place.redis)
    await publisher.publish(Reminder, { orderId: 'o' }, { eventId: 'e', delayMs: HOUR })

    const answers = await Promise.all(names('c', 10).map(() => publisher.cancel('e')))

    expect(answers.toSorted()).toEqual([...names('c', 9).map(() => 'already-cancelled'), 'cancelled'])
  })

  it('an event that is due and cancelled at once is cancelled or comes, never both', async () => {
    const place = await start()
    const publisher = aPublisher(place.redis)
    const ids = names('e', 100)
    await publisher.publishMany(
      ids.map((eventId) => [Reminder, { orderId: eventId }, { eventId, delayMs: 0 }] as const),
    )
    await place.pass(1)

    const [answers] = await Promise.all([Promise.all(ids.map((id) => publisher.cancel(id))), promoteAll(place.redis)])

    const late = ids.filter((_id, n) => answers[n] === 'too-late')
    expect(ordersOf(await place.entries()).sort()).toEqual(late.sort())
    expect(answers.filter((answer) => answer === 'cancelled')).toHaveLength(100 - late.length)
  })

  it('2,000 events are promoted once each by ten promoters at once', async () => {
    const place = await start()
    const orders = names('o', 2_000)
    await aPublisher(place.redis).publishMany(orders.map((orderId) => [Reminder, { orderId }, { delayMs: 0 }] as const))
    await place.pass(1)

    const promoted = await Promise.all(names('p', 10).map(() => promoteAll(place.redis)))

    expect(promoted.reduce((sum, n) => sum + n)).toBe(2_000)
    expect(ordersOf(await place.entries()).sort()).toEqual(orders.sort())
  })

  it('the stream is trimmed as the publisher of the event trims, counted from its promotion', async () => {
    const place = await start()
    const { redis } = place
    const many = names('o', 10).map((orderId) => [Reminder, { orderId }, { delayMs: 0 }] as const)
    await aPublisher(redis, { maxLength: 4, exactTrimming: true }).publishMany(many)
    await place.pass(1)

    await promoteAll(redis)

    expect(await place.entries()).toHaveLength(4)
    const retained = aPublisher(redis, { retentionMs: HOUR, exactTrimming: true })
    await retained.publish(Reminder, { orderId: 'kept' }, { delayMs: 0 })
    await place.pass(1)
    await promoteAll(redis)
    expect(await place.entries()).toHaveLength(5)
  })

  it('a promoter wakes those of its pollers that the event’s publisher wakes, but for its own', async () => {
    const place = await start()
    const { redis } = place
    const woken: string[] = []
    const wake = (group: string) => ({
      group,
      windowMs: 60_000,
      wake: async () => void woken.push(group),
      onError: (error: Error) => void woken.push(error.message),
    })
    await aPublisher(redis, { wake: ['a', 'b', 'c'].map(wake) }).publish(Reminder, { orderId: 'o' }, { delayMs: 0 })
    expect(woken).toEqual([])
    await place.pass(1)

    const promoter = promoteDelays({ wake: ['b', 'c', 'd'].map(wake) })
    await promoter.promote({ redis, stream: 'orders', ownGroup: 'c' })
    expect(woken).toEqual(['b'])

    await aPublisher(redis, { wake: wake('b') }).publish(Reminder, { orderId: 'p' }, { delayMs: 0 })
    await place.pass(1)
    await promoter.promote({ redis, stream: 'orders' })
    expect(woken).toEqual(['b']) // the flag stands until the poller takes it back
  })

  it('a promoted event is handled as any other', async () => {
    const place = await start()
    const { redis } = place
    const handled: string[] = []
    const consumer = defineConsumer({
      stream: 'orders',
      group: 'billing',
      routes: [on(Reminder, ({ payload }) => void handled.push(payload.orderId))],
      delays: promoteDelays(),
    })
    await aPublisher(redis).publish(Reminder, { orderId: 'o' }, { delayMs: 0 })
    await place.pass(1)
    await consumer.delays?.promote({ redis, stream: consumer.stream, ownGroup: consumer.group })

    await poll(consumer, { redis })

    expect(handled).toEqual(['o'])
  })
})

describe('what is no time', () => {
  const refusals: readonly (readonly [rule: RegExp, options: object])[] = [
    [/delayMs must be >= 0, got -1/, { delayMs: -1 }],
    [/delayMs must be >= 0, got NaN/, { delayMs: Number.NaN }],
    [/delayMs must be a number, got string/, { delayMs: '5' }],
    [/delayMs must be a number, got null/, { delayMs: null }],
    [/delayMs must be <= 31622400000, got 31622400001/, { delayMs: 366 * DAY + 1 }],
    [/delayMs must be <= 31622400000, got Infinity/, { delayMs: Number.POSITIVE_INFINITY }],
    [/deliverAt must be a valid Date, got an invalid one/, { deliverAt: new Date('soon') }],
    [/deliverAt must be a valid Date, got "2030-01-01"/, { deliverAt: '2030-01-01' }],
    [/deliverAt must be a valid Date, got number/, { deliverAt: 5 }],
    [/delayMs and deliverAt must not both be given/, { delayMs: 5, deliverAt: new Date() }],
    [/unknown option "delay"; known are .*delayMs, deliverAt/, { delay: 5 }],
  ]

  it.each(refusals)('is refused before anything is sent: %s', async (rule, options) => {
    const { redis, delayed, entries } = await delayInMemory()
    const publishing = aPublisher(redis).publishMany([
      [Reminder, { orderId: 'o' }],
      [Reminder, { orderId: 'o' }, options as DelayOptions],
    ])

    await expect(publishing).rejects.toThrow(rule)
    expect([await delayed(), await entries()]).toEqual([0, []])
  })
})
