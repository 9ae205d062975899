import { setTimeout as delay } from 'node:timers/promises'
import type { Connection, ConsumerSetOptions, EventOf, Report } from 'millrace'
import {
  createPublisher,
  defineConsumer,
  defineEvent,
  effects,
  NonRetryableError,
  on,
  poll,
  prioritized,
  promoteDelays,
} from 'millrace'
import { describe, expect, it } from 'vitest'
import * as z from 'zod/mini'
import { reportImbalance } from '../../src/report.ts'
import { claimOnce } from '../support/claim-once.ts'
import { PLACES } from '../support/places.ts'

const Job = defineEvent('Job', { payload: z.object({ id: z.string() }) })
const jobs = prioritized('jobs', ['high', 'normal', 'low'])
const PRIORITIES = ['high', 'normal', 'low'] as const
type Handler = (event: EventOf<typeof Job>) => unknown

/** The group `work` on the streams of the set, and the jobs its handler was called for. */
function aGroup(redis: Connection, then: Handler = () => {}, options: Partial<ConsumerSetOptions> = {}) {
  const calls: string[] = []
  const handler: Handler = (event) => {
    calls.push(event.payload.id)
    return then(event)
  }
  const consumers = defineConsumer({ stream: jobs, group: 'work', routes: [on(Job, handler)], ...options })
  const publisher = createPublisher({ stream: jobs, redis })
  const publish = (priority: string, ...ids: string[]) =>
    publisher.publishMany(ids.map((id) => [Job, { id }, { priority }] as const))
  return { calls, consumers, publisher, publish }
}

const many = (name: string, count: number) => Array.from({ length: count }, (_, n) => `${name}${n}`)

function expectSums(report: Report): void {
  expect(report.consumers.map(reportImbalance)).toEqual(report.consumers.map(() => 0))
  expect(reportImbalance(report)).toBe(0)
}

describe.each(PLACES)('a set over %s', (name, start) => {
  it('runs what is of higher priority first, and reports a row for each stream', async () => {
    const redis = await start()
    const { calls, consumers, publish } = aGroup(redis, undefined, { concurrency: 1 })
    await publish('low', 'l')
    await publish('normal', 'n')
    await publish('high', 'h')

    const report = await poll(consumers, { redis })

    // over REST each request has a connection of its own, and the first answer may be any
    expect(name === 'REST' ? [...calls].sort() : calls).toEqual(name === 'REST' ? ['h', 'l', 'n'] : ['h', 'n', 'l'])
    expect(report).toMatchObject({ read: 3, acked: 3, drained: true, noFreeSlot: false })
    expect(report.consumers.map(({ stream, set, acked }) => [stream, set, acked])).toEqual(
      PRIORITIES.map((priority) => [`{jobs}:${priority}`, 'jobs', 1]),
    )
    expectSums(report)
  })

  it('starts a job of low priority while high has a steady backlog, by its weight', async () => {
    const redis = await start()
    const { calls, consumers, publish } = aGroup(redis, () => delay(2), { concurrency: 2, batchSize: 200 })
    await publish('high', ...many('h', 140))
    await publish('low', ...many('l', 40))

    const report = await poll(consumers, { redis })

    const first = calls.slice(0, 100)
    const low = first.filter((id) => id.startsWith('l')).length
    // a fifth is its share beside high alone: 1 of 4 + 1
    expect(low).toBeGreaterThanOrEqual(10)
    expect(low).toBeLessThanOrEqual(35)
    expect(report).toMatchObject({ acked: 180, drained: true })
    expectSums(report)
  })

  it('runs no more handlers side by side than its concurrency, over all streams', async () => {
    const redis = await start()
    let running = 0
    let most = 0
    const { consumers, publish } = aGroup(
      redis,
      async () => {
        most = Math.max(most, ++running)
        await delay(3)
        running--
      },
      { concurrency: 3 },
    )
    for (const priority of PRIORITIES) await publish(priority, ...many(priority, 12))

    const report = await poll(consumers, { redis })

    expect([most, report.acked]).toEqual([3, 36])
  })

  it('takes a job of high priority within a second while low has a backlog', async () => {
    const redis = await start()
    const came = Promise.withResolvers<number>()
    const begun = Promise.withResolvers<void>()
    const { consumers, publish, calls } = aGroup(
      redis,
      async ({ payload }) => {
        if (payload.id === 'h') came.resolve(performance.now())
        if (payload.id === 'l3') begun.resolve()
        await delay(100)
      },
      { concurrency: 1, batchSize: 50, maxPollers: 1 },
    )
    await publish('low', ...many('l', 30))

    const stop = new AbortController()
    const polling = poll(consumers, { redis, signal: stop.signal })
    await begun.promise
    // streams without work keep their slots, so that whoever comes finds all taken
    const other = await poll(consumers, { redis })
    expect(other.consumers.map(({ noFreeSlot }) => noFreeSlot)).toEqual([true, true, true])
    const at = performance.now()
    await publish('high', 'h')
    expect((await came.promise) - at).toBeLessThan(2_000)
    stop.abort()
    const report = await polling

    expect(calls.length).toBeLessThan(31)
    expectSums(report)
  })

  it('retries what fails and sets dead letters aside stream by stream', async () => {
    const redis = await start()
    const { consumers, publish, calls } = aGroup(
      redis,
      ({ payload }) => {
        if (payload.id === 'never') throw new NonRetryableError('never')
        if (calls.filter((id) => id === payload.id).length < 2) throw new Error('not yet')
      },
      { backoff: { firstMs: 0 }, concurrency: 2 },
    )
    await publish('high', 'a', 'never')
    await publish('low', 'b', 'c', 'd')

    const polled = await poll(consumers, { redis })
    const claimed = await claimOnce(consumers, { redis })

    expect(polled).toMatchObject({ read: 5, retried: 4, deadLettered: 1 })
    expect(claimed).toMatchObject({ claimed: 4, acked: 4 })
    expectSums(polled)
    expectSums(claimed)
  })

  it('adds an id once within its window, whatever its priority', async () => {
    const redis = await start()
    const { publisher } = aGroup(redis)
    const once = { eventId: 'e', deduplicateMs: 60_000 }
    const first = await publisher.publish(Job, { id: 'a' }, { ...once, priority: 'high' })

    const again = await publisher.publish(Job, { id: 'a' }, { ...once, priority: 'low' })
    const later = await publisher.publish(Job, { id: 'a' }, { ...once, priority: 'low', delayMs: 60_000 })

    expect(again).toEqual({ ...first, duplicate: true })
    expect(later).toMatchObject({ eventId: 'e', duplicate: true })
    // another set, or stream, of the same hash tag has markers of its own
    const plain = await createPublisher({ stream: 'jobs', redis }).publish(Job, { id: 'a' }, once)
    expect(plain).not.toHaveProperty('duplicate')
  })

  it('delays and cancels an event of any priority', async () => {
    const redis = await start()
    const { publisher, consumers, calls } = aGroup(redis, undefined, { delays: promoteDelays() })
    const options = { delayMs: 60_000, deduplicateMs: 90_000 } as const
    await publisher.publish(Job, { id: 'a' }, { ...options, eventId: 'e', priority: 'low' })
    await publisher.publish(Job, { id: 'b' }, { delayMs: 0, priority: 'normal' })

    expect(await publisher.cancel('e')).toBe('cancelled')
    expect(await publisher.cancel('e')).toBe('already-cancelled')
    expect(await publisher.cancel('other')).toBe('unknown')
    const again = await publisher.publish(Job, { id: 'a' }, { ...options, eventId: 'e', priority: 'high' })
    expect(again).not.toHaveProperty('duplicate')
    await poll(consumers, { redis })
    expect(calls).toEqual(['b'])
  })

  it('publishes in an effect by priority', async () => {
    const redis = await start()
    const { publisher, publish } = aGroup(redis)
    const seen: string[] = []
    const consumers = defineConsumer({
      stream: jobs,
      group: 'work',
      routes: [
        on(Job, ({ payload }, context) => {
          seen.push(`${context.stream} ${payload.id}`)
          if (payload.id === 'first') effects(context).publish(publisher, Job, { id: 'second' }, { priority: 'low' })
        }),
      ],
    })
    await publish('high', 'first')

    await poll(consumers, { redis })
    await poll(consumers, { redis })

    expect(seen).toEqual(['{jobs}:high first', '{jobs}:low second'])
  })

  it('takes what comes while it listens', async () => {
    const redis = await start()
    const stop = new AbortController()
    const { consumers, publish, calls } = aGroup(
      redis,
      ({ payload }) => {
        if (payload.id === 'last') stop.abort()
        if (payload.id === 'b' && calls.filter((id) => id === 'b').length < 2) throw new Error('once more')
      },
      { mode: 'listen', backoff: { firstMs: 0 } },
    )
    await publish('low', 'a')

    const polling = poll(consumers, { redis, signal: stop.signal, remainingMs: 30_000 })
    await publish('high', 'b')
    while (calls.filter((id) => id === 'b').length < 2) await delay(20)
    await publish('normal', 'last')
    const report = await polling

    expect([...calls].sort()).toEqual(['a', 'b', 'b', 'last'])
    expectSums(report)
  })

  it('another group on it runs beside it, in places of its own', async () => {
    const redis = await start()
    const both = Promise.withResolvers<void>()
    let running = 0
    const meet = async () => {
      if (++running === 2) both.resolve()
      await both.promise
    }
    const { consumers, publish, calls } = aGroup(redis, meet, { concurrency: 1 })
    const others = aGroup(redis, meet, { concurrency: 1, group: 'audit' })
    await publish('high', 'a')

    const report = await poll([consumers, others.consumers], { redis })

    expect([calls, others.calls]).toEqual([['a'], ['a']])
    expect(report.consumers).toHaveLength(6)
  })
})
