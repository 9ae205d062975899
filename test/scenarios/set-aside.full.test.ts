import type { Redis } from 'ioredis'
import type { Connection, Consumer, ConsumerOptions, EventHandler, Report } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, on, poll, RetryAfterError, UnavailableError } from 'millrace'
import { describe, expect, it } from 'vitest'
import * as z from 'zod/mini'
import { claimOnce } from '../support/claim-once.ts'
import { passOnDue } from '../support/due.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { billing, difference, names, noting, startScenario } from '../support/scenario.ts'

const DUE = '{orders}:billing:due'
const WAITING = '{orders}:billing:waiting'
const STATE = '{orders}:billing:state'
const HOUR_MS = 3_600_000
const IN_AN_HOUR = { backoff: { firstMs: HOUR_MS } }
const AT_ONCE = { backoff: { firstMs: 0 } }
const ok = () => {}
const fail = () => Promise.reject(new Error('no'))

const eventOf = (type: string) => defineEvent(type, { payload: z.object({ orderId: z.string() }) })

/** Group `billing`, where only those types have a route: the others wait for a deployment that has one. */
function knowing(types: readonly string[], handler: EventHandler<never> = ok, options: Partial<ConsumerOptions> = {}) {
  const routes = types.map((type) => on(eventOf(type), handler as EventHandler))
  return defineConsumer({ stream: 'orders', group: 'billing', routes, unrouted: 'park', ...options })
}

const OLD = knowing(['OrderPaid'])

/** Publishes an event of each type, its order named as the type; answers their entry ids. */
async function publishTypes(redis: Connection, types: readonly string[]): Promise<string[]> {
  const publisher = createPublisher({ stream: 'orders', redis })
  const published = await publisher.publishMany(types.map((type) => [eventOf(type), { orderId: type }] as const))
  return published.map(({ entryId }) => entryId)
}

/** A scenario where an event of each type was read by a deployment that knows OrderPaid only. */
async function startWaiting(types: readonly string[]) {
  const scenario = await startScenario()
  const ids = await publishTypes(scenario.redis, types)
  await poll(OLD, { redis: scenario.redis })
  return { ...scenario, ids }
}

/** A scenario where each order failed once. From now on `work.answer` succeeds; `work.calls` are noted as `order/delivery count`. */
async function startFailed(orders: readonly string[], options: Partial<ConsumerOptions>, answer = fail) {
  const scenario = await startScenario()
  const work: { answer: EventHandler<never>; calls: string[] } = { answer, calls: [] }
  const { calls, handler } = noting((event, context) => {
    work.calls.push(`${calls.at(-1)}/${context.deliveryCount}`)
    return work.answer(event, context)
  })
  const consumer = billing(handler, options)
  const ids = await scenario.publish(...orders)
  await poll(consumer, { redis: scenario.redis })
  expect(work.calls).toEqual(orders.map((order) => `${order}/1`))
  Object.assign(work, { answer: ok, calls: [] })
  return { ...scenario, ids, consumer, work }
}

async function claimTimes(times: number, consumer: Consumer, redis: Connection): Promise<Report[]> {
  const reports: Report[] = []
  for (let n = 0; n < times; n++) reports.push(await claimOnce(consumer, { redis }))
  return reports
}

const total = (reports: readonly Report[], count: 'acked' | 'claimed' | 'lost') =>
  reports.reduce((sum, report) => sum + report[count], 0)

/** The place of an entry among those that wait for a condition. */
function placeOf(condition: string, id: string, count: number): string {
  const parts = id.split('-').map((part) => String.fromCharCode(64 + part.length) + part)
  return `${condition}\n${parts.join('')}:${count}`
}

/** How many places the index has, by time and by condition. */
const places = (raw: Redis) => Promise.all([raw.zcard(DUE), raw.zcard(WAITING)])

describe('promise 22: what waits comes back, whatever else waits', () => {
  it('the 101st condition is seen, too, though deployments take turns', async () => {
    const { redis } = await startWaiting(names('T', 150))
    const { calls, handler } = noting()

    for (let turn = 0; turn < 30 && calls.length === 0; turn++) {
      await claimOnce(OLD, { redis })
      await claimOnce(knowing(['T99'], handler), { redis }) // the last of them, as the index sorts them
    }

    expect(calls).toEqual(['T99'])
  })

  it('a repair gives none of 150 conditions a second place', async () => {
    const { redis, raw } = await startWaiting(names('T', 150))
    await raw.zadd(DUE, (Date.now() + HOUR_MS) * 1_024, '5-5') // one place too many, so that all is compared

    const reports = await claimTimes(4, OLD, redis)

    expect(await raw.hget(STATE, 'repaired')).toMatch(/^\d+ -1$/)
    expect([total(reports, 'claimed'), await places(raw)]).toEqual([0, [1, 150]])
  })

  it('a type with a long name is held as others are', async () => {
    const { redis, pending } = await startScenario()
    const types = Array.from({ length: 50 }, () => 'L'.repeat(250))
    const isDown = () => Promise.reject(new UnavailableError('down'))
    const consumer = knowing(types.slice(0, 1), isDown, { ...AT_ONCE, concurrency: 1 })
    await publishTypes(redis, types)
    await poll(consumer, { redis })

    const reports = await claimTimes(2, consumer, redis)

    expect(reports.map(({ claimed }) => claimed)).toEqual([1, 1])
    expect(await pending()).toEqual(types.map((type) => [type, 'parked', 0]))
  })

  it('with maxParked reached nothing more is read, and all comes in the end', async () => {
    const { redis, pending } = await startScenario()
    const types = names('T', 200)
    const options = { maxParked: 50, batchSize: 20 }
    await publishTypes(redis, types)
    const old = knowing(['OrderPaid'], ok, options)
    for (let n = 0; n < 2; n++) await poll(old, { redis })

    const { parkedLimitReached, read } = await poll(old, { redis })
    const parked = (await pending()).length
    const { calls, handler } = noting()
    for (let n = 0; n < 12; n++) {
      await claimOnce(knowing(types, handler, options), { redis })
      await poll(knowing(types, handler, options), { redis })
    }

    expect([parkedLimitReached, read, parked >= 50, parked < 70]).toEqual([true, 0, true, true])
    expect([calls.toSorted(), await pending()]).toEqual([types.toSorted(), []])
  })
})

describe('promise 6: whatever the index holds, nothing is lost and nothing blocked', () => {
  const elsewhere = placeOf('unrouted Tea', `${'9'.repeat(20)}-1`, 5)
  const misspelt = ['', '\n', 'a', 'unrouted Tea\n', 'unrouted Tea\nA1A1:x', 'unrouted Tea\nB01A1:1', elsewhere]
  it.each([
    [0, misspelt],
    [5, ['aaa']],
    [-5, ['zz']],
  ])('with garbage among what waits, at score %d', async (score, members) => {
    const { redis, raw, pending } = await startWaiting(['Tea'])
    await raw.zadd(WAITING, ...members.flatMap((member) => [score, member]))
    const { calls, handler } = noting()

    const reports = await claimTimes(3, knowing(['Tea'], handler), redis)

    expect([calls, total(reports, 'lost'), await pending(), await places(raw)]).toEqual([['Tea'], 0, [], [0, 0]])
  })

  it('with garbage for due times and members', async () => {
    const orders = names('o', 8)
    const { redis, raw, pending, ids, consumer, work } = await startFailed(orders, IN_AN_HOUR)
    const scores = ['inf', '-inf', '0.5', '-1', '9e15', '9000000000000001', '1e300', '8999999999999999']
    for (const [n, score] of scores.entries()) await raw.zadd(DUE, score, ids[n] ?? '')
    for (const member of ['', 'x', '1', '1-', `${'9'.repeat(20)}-1`, '1-1', '-', '+', '$', '1-1\n'])
      await raw.zadd(DUE, 1, member)
    await raw.zadd(DUE, 9e15, 'taken', 'inf', 'never')

    const reports = await claimTimes(4, consumer, redis)
    await passOnDue(raw, 300 * 365 * 24 * HOUR_MS)
    reports.push(await claimOnce(consumer, { redis }))

    expect([total(reports, 'lost'), reports.map(difference)]).toEqual([0, [0, 0, 0, 0, 0]])
    expect(work.calls.toSorted()).toEqual(orders.map((order) => `${order}/2`))
    expect([await pending(), await places(raw)]).toEqual([[], [0, 0]])
  })

  it('with an id in another spelling', async () => {
    const { redis, raw, pending, ids, consumer, work } = await startFailed(['a'], AT_ONCE)
    await raw.zadd(DUE, 1, `0${ids[0]}`, 1, `00${ids[0]}`)
    work.answer = fail

    await claimOnce(consumer, { redis })
    expect(await pending()).toEqual([['a', 'parked', 2]])
    work.answer = ok
    await claimOnce(consumer, { redis })

    expect([work.calls, await pending()]).toEqual([['a/2', 'a/3'], []])
  })

  it('with an id in another spelling, among many that wait', async () => {
    const { redis, raw, pending, ids, consumer, work } = await startFailed(names('o', 20), IN_AN_HOUR)
    await raw.zadd(DUE, 1, ids[0] ?? '', 1, ids[19] ?? '', 2, `0${ids[0]}`)
    work.answer = ok

    const report = await claimOnce(consumer, { redis })

    expect([work.calls, report.acked, (await pending()).length]).toEqual([['o0/2', 'o19/2'], 2, 18])
  })

  it('with an entry both due and waiting, for two conditions: it runs once', async () => {
    const { redis, raw, pending, ids } = await startWaiting(['Tea'])
    await raw.zadd(DUE, 1, ids[0] ?? '')
    await raw.zadd(WAITING, 0, placeOf('unrouted Toe', ids[0] ?? '', 0))
    const { calls, handler } = noting()

    const reports = await claimTimes(3, knowing(['Tea', 'Toe'], handler), redis)

    expect([calls, total(reports, 'acked')]).toEqual([['Tea'], 1])
    expect([await pending(), await places(raw)]).toEqual([[], [0, 0]])
  })

  it.each([
    { index: 'due', key: DUE, place: (id: string) => id },
    { index: 'waiting', key: WAITING, place: (id: string) => placeOf('unrouted OrderPaid', id, 0) },
  ])('with a place forged in $index for what runs elsewhere', async ({ key, place }) => {
    const { redis, raw, publish, pending } = await startWaiting([])
    const { calls, handler } = noting()
    const [id = ''] = await publish('a')
    await raw.xreadgroup('GROUP', 'billing', 'poller-3', 'STREAMS', 'orders', '>')
    await raw.zadd(key, 1, place(id))

    await claimOnce(billing(handler), { redis })

    expect([calls, await pending(), await places(raw)]).toEqual([[], [['a', 'poller-3', 1]], [0, 0]])
  })

  it('with a missing and a stale place, which hide each other for a day at most', async () => {
    const { redis, raw, ids, consumer, work } = await startFailed(['a', 'b'], IN_AN_HOUR)
    await raw.xack('orders', 'billing', ids[0] ?? '')
    await raw.zrem(DUE, ids[1] ?? '')
    await claimOnce(consumer, { redis })
    const [at] = ((await raw.hget(STATE, 'repaired')) ?? '').split(' ')
    await raw.hset(STATE, 'repaired', `${Number(at) - 25 * HOUR_MS} 0`)

    await claimTimes(3, consumer, redis)

    expect(work.calls).toEqual(['b/2'])
  })

  it('with 12,000 set aside, 4,000 of them for a condition each, and no due times', async () => {
    const { redis, raw } = await startScenario()
    const types = names('T', 12_000).map((type, n) => (n % 3 === 0 ? type : 'OrderPaid'))
    const limits = { batchSize: 1_000, concurrency: 1_000, maxParked: 100_000, maxPending: 100_000 }
    const consumer = knowing(['OrderPaid'], fail, { ...IN_AN_HOUR, ...limits })
    await publishTypes(redis, types)
    while ((await poll(consumer, { redis })).read > 0);
    await raw.config('SET', 'slowlog-log-slower-than', '250000')
    await raw.slowlog('RESET')
    await raw.del(DUE)

    const reports = await claimTimes(5, consumer, redis)

    expect([total(reports, 'claimed'), reports.at(-1)?.claimed]).toEqual([8_000, 0])
    expect(reports.filter((report) => report.roundTrips > 100 || difference(report) !== 0)).toEqual([])
    expect((await raw.xpending('orders', 'billing')).at(-1)).toEqual([['parked', '12000']])
    expect([await places(raw), await raw.slowlog('LEN')]).toEqual([[8_000, 4_000], 0])
  })

  it('with times far ahead, as after a clock that went back', async () => {
    const inADay = () => Promise.reject(new RetryAfterError(24 * HOUR_MS))
    const { redis, raw, ids, consumer, work } = await startFailed(['a', 'b'], {}, inADay)
    for (const id of ids) await raw.zincrby(DUE, HOUR_MS * 1_024, id)

    const early = await claimOnce(consumer, { redis })
    await passOnDue(raw, 26 * HOUR_MS)
    await claimOnce(consumer, { redis })

    expect([early.claimed, early.lost, work.calls]).toEqual([0, 0, ['a/2', 'b/2']])
  })

  it('with what was trimmed meanwhile, which is counted once', async () => {
    const { redis, raw, pending } = await startWaiting(names('T', 900).map((_type, n) => `T${n % 3}`))
    await raw.xtrim('orders', 'MAXLEN', 0)

    const reports = await claimTimes(6, OLD, redis)

    expect([total(reports, 'lost'), await pending(), await places(raw)]).toEqual([900, [], [0, 0]])
  })

  it('with what a zombie acknowledged, which is not lost when it is trimmed', async () => {
    const { redis, raw, ids } = await startWaiting(['Tea', 'Tea', 'OrderPaid'])
    await raw.xack('orders', 'billing', ids[0] ?? '')
    await raw.xtrim('orders', 'MAXLEN', 0)

    expect(total(await claimTimes(3, OLD, redis), 'lost')).toBe(1)
  })
})

describe('promise 8: a lost group gets back what was set aside', () => {
  it.each([
    ['without its place', (raw: Redis) => raw.hdel(STATE, 'healWaiting')],
    ['with garbage for its place', (raw: Redis) => raw.hset(STATE, { healDue: 'x', healWaiting: 'y' })],
    ['with garbage for its mark', (raw: Redis) => raw.hset(STATE, 'healing', 'x')],
  ])('healing goes on %s', async (_name, spoil) => {
    const orders = names('o', 1_200)
    const { redis, raw, pending, consumer, work } = await startFailed(orders, IN_AN_HOUR)
    await claimOnce(consumer, { redis }) // notes how far the group has read
    await raw.xgroup('DESTROY', 'orders', 'billing')
    await poll(consumer, { redis })
    expect(await raw.hexists(STATE, 'healing')).toBe(1)
    await spoil(raw)

    await claimTimes(3, consumer, redis)
    expect([(await pending()).length, await raw.hexists(STATE, 'healing')]).toEqual([1_200, 0])
    await passOnDue(raw, 2 * HOUR_MS)
    await claimTimes(3, consumer, redis)

    expect(work.calls.toSorted()).toEqual(orders.map((order) => `${order}/2`).toSorted())
    expect([await pending(), await places(raw)]).toEqual([[], [0, 0]])
  })

  it('lost just before a take of what waits', async () => {
    const { server, redis, raw, connect } = await startWaiting(['Tea'])
    const proxy = await startFaultProxy(server)
    const { calls, handler } = noting()
    const consumer = knowing(['Tea'], handler)
    await claimOnce(OLD, { redis })
    const taking = proxy.pauseOn('unrouted Tea')
    const run = claimOnce(consumer, { redis: connect(proxy.url) }).catch(ok)
    const held = await taking
    await raw.xgroup('DESTROY', 'orders', 'billing')
    held.release()
    await run
    await proxy.close()

    await claimTimes(3, consumer, redis)

    expect([calls, await places(raw)]).toEqual([['Tea'], [0, 0]])
  })

  it('acknowledged by its taker after the group was lost and made twice', async () => {
    const { redis, raw, connect, pending, consumer, work } = await startFailed(['a', 'b'], AT_ONCE)
    work.answer = fail
    await claimOnce(consumer, { redis }) // notes how far the group has read
    const started = Promise.withResolvers<void>()
    const gate = Promise.withResolvers<void>()
    work.answer = () => {
      started.resolve()
      return gate.promise
    }
    const run = claimOnce(consumer, { redis: connect() })
    await started.promise
    work.answer = fail
    for (let loss = 0; loss < 2; loss++) {
      await raw.xgroup('DESTROY', 'orders', 'billing')
      await poll(consumer, { redis })
      await claimOnce(consumer, { redis: connect() })
    }
    gate.resolve()
    const report = await run
    work.answer = ok

    await claimTimes(3, consumer, redis)

    expect([difference(report), await pending(), await places(raw)]).toEqual([0, [], [0, 0]])
  })
})
