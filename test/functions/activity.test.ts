import { execFile } from 'node:child_process'
import { join } from 'node:path'
import type { EventOf, Publication } from 'millrace'
import { createPublisher, poll } from 'millrace'
import { connectMemory, createHandlerContext, effectsOf } from 'millrace/testing'
import { describe, expect, test } from 'vitest'
import { analytics, fulfilment, monitoring } from '../../functions/activity/consumers.ts'
import { countPurchase } from '../../functions/activity/count-actions.ts'
import { dayOf, minuteOf } from '../../functions/activity/entry-time.ts'
import { stateOf } from '../../functions/activity/keep-orders.ts'
import { createActivityPublisher, paced } from '../../functions/activity/load.ts'
import { type Simulated, simulateActivity } from '../../functions/activity/simulation.ts'
import { MAX_HOSTS, watchMetric } from '../../functions/activity/watch-metrics.ts'
import {
  activityCodec,
  LoggedOut,
  MetricSampled,
  OrderCancelled,
  OrderPlaced,
  type Purchased,
  STREAMS,
} from '../../functions/events/activity.ts'

const root = join(import.meta.dirname, '../..')
/** 29 November 2026, 16:51:42 UTC. */
const ENTRY = '1795971102000-0'

describe('countPurchase()', () => {
  test('counts the action, its user and its cents, in keys of the day that expire', () => {
    const context = createHandlerContext({ stream: STREAMS.actions, entryId: ENTRY })
    const event = { payload: { user_id: 'u-1', action: 'buy', amount: '12.50' } } as EventOf<typeof Purchased>

    countPurchase(event, context)

    const [counts, users] = ['{user-actions}:activity:2026-11-29', '{user-actions}:users:2026-11-29']
    expect(effectsOf(context)).toEqual([
      ['HINCRBY', counts, 'buy', '1'],
      ['PEXPIRE', counts, 3_024_000_000],
      ['PFADD', users, 'u-1'],
      ['PEXPIRE', users, 3_024_000_000],
      ['HINCRBY', counts, 'cents', '1250'],
    ])
  })
})

describe('watchMetric()', () => {
  const asked = (name: string, value: string) => {
    const context = createHandlerContext({ stream: STREAMS.metrics, entryId: ENTRY })
    watchMetric({ payload: { host: 'web-1', name, value } } as EventOf<typeof MetricSampled>, context)
    return effectsOf(context)
  }

  test('keeps the highest of a minute, of a bounded number of hosts', () => {
    const peaks = '{system-metrics}:peaks:cpu:2026-11-29T16:51'
    expect(asked('cpu', '0.9')).toEqual([
      ['ZADD', peaks, 'GT', '0.9', 'web-1'],
      ['ZREMRANGEBYRANK', peaks, 0, -MAX_HOSTS - 1],
      ['PEXPIRE', peaks, 3_600_000],
    ])
  })

  test('counts an alarm above the threshold', () => {
    expect(asked('cpu', '0.91').at(-2)).toEqual(['HINCRBY', '{system-metrics}:alarms:2026-11-29', 'cpu', '1'])
  })
})

describe('the consumers', () => {
  const placed = { order_id: 'o-1', user_id: 'u-1', amount: '2.00', items: ['mug'] }
  const cancelled = { order_id: 'o-1', reason: 'out of stock' }

  test.each([
    ['placed, then cancelled', [OrderPlaced, OrderCancelled]],
    ['cancelled, then placed', [OrderCancelled, OrderPlaced]],
  ] as const)('know an order as cancelled that is %s', async (_name, order) => {
    const redis = connectMemory()
    const orders = createPublisher({ stream: STREAMS.orders, redis, codec: activityCodec })
    for (const event of order) await orders.publish(event, (event === OrderPlaced ? placed : cancelled) as never)

    expect(await poll(fulfilment, { redis })).toMatchObject({ acked: 2 })
    const facts = Object.fromEntries(redis.value('{user-orders}:order:o-1') as unknown as Map<string, string>)
    expect(stateOf(facts)).toBe('cancelled')
    expect(facts).toMatchObject({ user_id: 'u-1', amount: '2.00', items: '["mug"]', reason: 'out of stock' })
  })

  test('handle an event that is sent twice once, and ignore types and metrics without a route', async () => {
    const redis = connectMemory()
    const actions = createPublisher({ stream: STREAMS.actions, redis, codec: activityCodec })
    const metrics = createPublisher({ stream: STREAMS.metrics, redis, codec: activityCodec })
    const all = take(simulate(1), 400).filter(({ to }) => to === 'actions')
    const events = [...new Map(all.map((event) => [event.eventId, event])).values()]
    const publications = events.map(({ event, payload, eventId }): Publication => [event, payload, { eventId }])
    await metrics.publish(MetricSampled, { host: 'web-1', name: 'humidity', value: '40' })
    const searches = events.filter(({ event }) => event.type === 'search').length
    const known = events.length - searches

    await actions.publishMany(publications)
    expect(await poll(analytics, { redis })).toMatchObject({ ignored: searches, acked: known, duplicates: 0 })
    await actions.publishMany(publications)
    expect(await poll(analytics, { redis })).toMatchObject({ ignored: searches, acked: known, duplicates: known })
    expect(await poll(monitoring, { redis })).toMatchObject({ read: 1, ignored: 1, invoked: 0 })
  })

  test('handle an event without an id as often as it comes, and report it as unguarded', async () => {
    const redis = connectMemory()
    const encode = (event: Parameters<typeof activityCodec.encode>[0]) =>
      activityCodec.encode(event).filter(([name]) => name !== 'event_id')
    const actions = createPublisher({ stream: STREAMS.actions, redis, codec: { ...activityCodec, encode } })
    const who = { user_id: 'u-1', session_id: 's-1' }
    for (let n = 0; n < 2; n++) await actions.publish(LoggedOut, { ...who, action: 'logout' })

    expect(await poll(analytics, { redis })).toMatchObject({ acked: 2, invoked: 2, unguarded: 2 })
  })
})

describe('simulateActivity()', () => {
  test('gives the same events for the same seed, and others for another', () => {
    const [one, same, other] = [1, 1, 2].map((seed) => take(simulate(seed), 500))

    expect(one).toEqual(same)
    expect(one).not.toEqual(other)
  })

  test('has every type, some events twice, and orders that are cancelled before they are placed', () => {
    const events = take(simulate(1), 5_000)
    const types = new Set(events.map(({ event }) => event.type))
    const ids = events.map(({ eventId }) => eventId)
    const ordersOf = (type: string) =>
      events.flatMap(({ event, payload }) => (event.type === type ? [payload.order_id] : []))
    const isFirst = (type: string, id: unknown) =>
      events.find(({ payload }) => payload.order_id === id)?.event.type === type

    expect([...types].sort()).toEqual(
      ['cart', 'logout', 'metric', 'order_cancelled', 'order_placed', 'page_view', 'purchase', 'search'].sort(),
    )
    expect(ids.length - new Set(ids).size).toBeGreaterThan(50)
    expect(ordersOf('order_cancelled').filter((id) => isFirst('order_cancelled', id))).not.toEqual([])
    expect(events.every(({ payload }) => !payload.user_id || /^user-\d{1,2}$/.test(String(payload.user_id)))).toBe(true)
  })

  test('is written in flat fields, with an id, a time and its producer', async () => {
    const redis = connectMemory()
    const publish = createActivityPublisher(redis)
    const bought = take(simulate(1), 1_000).filter(({ event }) => event.type === 'purchase')
    await publish(bought.slice(0, 1))

    const [entry] = redis.entries(STREAMS.actions)
    expect(Object.fromEntries(entry?.fields.map(([name, value]) => [name, String(value)]) ?? [])).toEqual({
      event_type: 'purchase',
      event_id: bought[0]?.eventId,
      producer_id: 'simulator',
      published_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      user_id: bought[0]?.payload.user_id,
      session_id: bought[0]?.payload.session_id,
      action: 'buy',
      amount: bought[0]?.payload.amount,
      items: JSON.stringify(bought[0]?.payload.items),
    })
  })
})

test('paced() hands on so many events a second, for so long', async () => {
  const batches: number[] = []
  const startedAt = performance.now()
  const load = { rate: 70, seconds: 1, signal: new AbortController().signal }
  await paced(simulate(1), load, async (events) => batches.push(events.length))

  expect(batches.reduce((sum, length) => sum + length)).toBe(70)
  expect(batches.length).toBeGreaterThan(4)
  expect(performance.now() - startedAt).toBeGreaterThan(800)
})

test('dayOf() and minuteOf() go by the time that the server gave an entry', () => {
  expect([dayOf(ENTRY), minuteOf(ENTRY)]).toEqual(['2026-11-29', '2026-11-29T16:51'])
  expect(() => dayOf('18446744073709551615-0')).toThrow(RangeError)
})

test.each([
  [['--rate', '0'], '--rate must be a whole number from 1 to 10000, got "0"'],
  [['--seconds', '1e3'], '--seconds must be a whole number from 1 to 86400, got "1e3"'],
  [['--seed=-1'], '--seed must be a whole number from 0 to 4294967295, got "-1"'],
  [['--speed', '1'], "Unknown option '--speed'"],
])('simulate.ts %s is refused, in one line', async (args, message) => {
  const failure = await new Promise<string>((resolve) =>
    execFile(process.execPath, ['functions/activity/simulate.ts', ...args], { cwd: root }, (_error, _out, stderr) =>
      resolve(stderr),
    ),
  )

  expect(failure).toContain(message)
  expect(failure).not.toMatch(/^ {4}at /m)
})

const simulate = (seed: number) => simulateActivity({ seed, run: 'test', users: 50 })

function take(events: Iterator<Simulated>, count: number): Simulated[] {
  return Array.from({ length: count }, () => events.next().value)
}
