import { setTimeout as delay } from 'node:timers/promises'
import type { ClaimOptions, Connection, Consumer, DelayOptions, PollOptions, Report } from 'millrace'
import { claim, createPublisher, poll, promoteDelays } from 'millrace'
import { connect } from 'millrace/connect'
import { pause } from 'millrace/operate'
import { connectMemory, createVirtualClock } from 'millrace/testing'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import type { EntryWaiter } from '../../src/group/group.ts'
import { type BothSides, bothSides } from '../support/both-sides.ts'
import { startRestServer } from '../support/rest-server.ts'
import { billing, difference, names, OrderPaid, startScenario } from '../support/scenario.ts'
import { watchCommands } from '../support/watch-commands.ts'

const QUICK = { handlerTimeoutMs: 500, reserveMs: 100, minIdleMs: 6_000 } as const

const PLACES: Readonly<Record<string, () => Promise<Connection>>> = {
  'over TCP': async () => (await startScenario()).redis,
  'over REST': async () => {
    const { server } = await startScenario()
    const rest = await startRestServer({ redisUrl: server.url, token: 'secret' })
    const redis = connect(rest.url.replace('://', '://:secret@'))
    onTestFinished(async () => {
      await redis.close()
      await rest.close()
    })
    return redis
  },
  'in memory': async () => connectMemory(),
}

/** A consumer that promotes, and how late each of its orders was handled, in milliseconds. */
function promoting(options: Partial<Parameters<typeof billing>[1]> = {}) {
  const dueAt = new Map<string, number>()
  const lateMs: number[] = []
  const consumer = billing(
    (event: never) => {
      const { orderId } = (event as { payload: { orderId: string } }).payload
      lateMs.push(Date.now() - (dueAt.get(orderId) ?? Number.NaN))
    },
    { ...QUICK, delays: promoteDelays(), ...options },
  )
  const publish = async (redis: Connection, orderId: string, options: DelayOptions) => {
    const { deliverAt } = await createPublisher({ stream: 'orders', redis }).publish(OrderPaid, { orderId }, options)
    dueAt.set(orderId, deliverAt.getTime())
  }
  return { consumer, lateMs, publish }
}

/** A connection whose groups do some of it otherwise. */
function withGroup(redis: Connection, change: (group: BothSides) => Partial<BothSides>): Connection {
  return { ...redis, group: (...request) => bothSides(redis.group(...request), change) }
}

/** A run until somebody ends it. */
function running(
  run: (consumer: Consumer, options: PollOptions & ClaimOptions) => Promise<Report>,
  consumer: Consumer,
  options: PollOptions,
) {
  const stop = new AbortController()
  const ended = run(consumer, { ...options, signal: stop.signal } as never)
  ended.catch(() => {})
  const end = () => {
    stop.abort()
    return ended
  }
  onTestFinished(async () => void (await end().catch(() => {})))
  return { end }
}

describe.each(Object.entries(PLACES))('delayed events in runs, %s', (_place, open) => {
  it('a poll promotes what is due before it reads', async () => {
    const redis = await open()
    const { consumer, lateMs, publish } = promoting()
    for (const orderId of names('due', 250)) await publish(redis, orderId, { delayMs: 0 })
    await publish(redis, 'later', { delayMs: 60_000 })

    const report = await poll(consumer, { redis })

    expect(report).toMatchObject({ promoted: 250, read: 250, acked: 250, drained: true })
    expect(lateMs).toHaveLength(250)
    expect(difference(report)).toBe(0)
  })

  it('who listens handles each within two seconds of its time, never before it', async () => {
    const redis = await open()
    const { consumer, lateMs, publish } = promoting({ mode: 'listen' })
    await publish(redis, 'a', { delayMs: 700 })
    const { end } = running(poll, consumer, { redis, remainingMs: 30_000 })
    await delay(300)
    for (const [n, orderId] of names('b', 5).entries()) await publish(redis, orderId, { delayMs: 300 * n })
    await vi.waitUntil(() => lateMs.length === 6, { timeout: 8_000, interval: 10 })

    expect(await end()).toMatchObject({ promoted: 6, acked: 6 })
    expect(lateMs.filter((ms) => ms < 0)).toEqual([])
    expect(Math.max(...lateMs)).toBeLessThan(2_000)
  })

  it('a claimer waits for the next, and puts it into the stream', async () => {
    const redis = await open()
    const { consumer, lateMs, publish } = promoting()
    await poll(consumer, { redis })
    await publish(redis, 'a', { delayMs: 600 })

    const report = await claim(consumer, { redis, remainingMs: 2_500 })

    expect(report.promoted).toBe(1)
    expect((await poll(consumer, { redis })).acked).toBe(1)
    expect(lateMs[0]).toBeLessThan(2_500)
  })
})

describe('delayed events in runs', () => {
  it.each([
    ['poll', poll],
    ['claim', claim],
  ] as const)('come though the group is paused whose run promotes them: %s', async (_action, run) => {
    const { redis } = await startScenario()
    const { consumer, publish } = promoting()
    await poll(consumer, { redis })
    await pause({ stream: 'orders', group: 'billing' }, { redis })
    await publish(redis, 'a', { delayMs: 0 })

    expect(await run(consumer, { redis })).toMatchObject({ promoted: 1, paused: true, read: 0 })
  })

  it('a wake-up that never settles keeps no run from its end', async () => {
    const { redis } = await startScenario()
    const never = { group: 'search', windowMs: 1_000, wake: () => new Promise<void>(() => {}), onError: () => {} }
    const { consumer } = promoting({ delays: promoteDelays({ wake: never }) })
    const publisher = createPublisher({ stream: 'orders', redis, wake: { ...never, wake: async () => {} } })
    await publisher.publish(OrderPaid, { orderId: 'a' }, { delayMs: 0 })
    const startedAt = performance.now()

    expect(await poll(consumer, { redis, remainingMs: 2_000 })).toMatchObject({ promoted: 1, acked: 1 })
    expect(performance.now() - startedAt).toBeLessThan(2_000)
  })

  it('each comes once, however many pollers listen and claimers wait', async () => {
    const { redis, raw } = await startScenario()
    const { consumer, lateMs, publish } = promoting({ mode: 'listen' })
    const runs = [poll, poll, poll, claim, claim].map((run) => running(run, consumer, { redis, remainingMs: 30_000 }))
    for (const [n, orderId] of names('o', 60).entries()) await publish(redis, orderId, { delayMs: 20 * n })
    await vi.waitUntil(() => lateMs.length >= 60, { timeout: 10_000, interval: 10 })
    await delay(300)
    const reports = await Promise.all(runs.map(({ end }) => end()))

    expect(lateMs).toHaveLength(60)
    expect(await raw.xlen('orders')).toBe(60)
    expect(reports.reduce((sum, { promoted }) => sum + promoted, 0)).toBe(60)
    expect(lateMs.filter((ms) => ms < 0)).toEqual([])
  })

  it('where nothing is due a run sends the commands that it sends without', async () => {
    const { redis, server, publish } = await startScenario()
    const plain = billing(() => {}, QUICK)
    const { consumer } = promoting()
    // the server knows the scripts from then on
    for (const run of [poll, claim, poll, claim]) {
      await publish('a', 'b')
      await run(plain, { redis })
    }
    const watch = await watchCommands(server.url)
    const sent: string[][] = []
    for (const each of [plain, consumer])
      for (const run of [poll, claim]) {
        await publish('a', 'b')
        const before = (await watch.seen()).length
        await run(each, { redis })
        sent.push((await watch.seen()).slice(before).map(([name = '']) => name))
      }

    expect(sent.slice(2)).toEqual(sent.slice(0, 2))
  })

  it('one that is due just after a slot was taken is settled under a slot', async () => {
    const memory = connectMemory()
    const { consumer, publish } = promoting()
    let isFirst = true
    const redis = withGroup(memory, (group) => ({
      async takeSlot(...request) {
        const slot = await group.takeSlot(...request)
        if (isFirst) await publish(memory, 'a', { delayMs: 0 })
        isFirst = false
        return slot
      },
    }))

    expect(await poll(consumer, { redis })).toMatchObject({ promoted: 1, read: 1, acked: 1, unsettled: 0 })
    const failing = billing(() => Promise.reject(new Error('no')), { ...QUICK, delays: promoteDelays() })
    isFirst = true
    expect(await poll(failing, { redis })).toMatchObject({ promoted: 1, read: 1, retried: 1, unsettled: 0 })
  })

  it('who listens promotes in time beside a last delivery, which runs alone', async () => {
    const clock = createVirtualClock()
    const redis = connectMemory({ clock })
    const handler = ({ payload: { orderId } }: { payload: { orderId: string } }) =>
      orderId === 'long'
        ? new Promise<void>((_resolve, reject) => clock.after(8_000, () => reject(new Error('no'))))
        : undefined
    const consumer = billing(handler as never, {
      mode: 'listen',
      delays: promoteDelays(),
      maxDeliveries: 2,
      backoff: { firstMs: 0, factor: 1, maxMs: 0 },
    })
    const publisher = createPublisher({ stream: 'orders', redis, clock })
    await publisher.publish(OrderPaid, { orderId: 'long' })
    await publisher.publish(OrderPaid, { orderId: 'delayed' }, { delayMs: 10_000 })
    const polling = poll(consumer, { redis, clock, remainingMs: 60_000 })

    await clock.advance(9_900)
    expect([redis.pending('orders', 'billing'), redis.delayed('orders')]).toMatchObject([[{ deliveryCount: 2 }], [{}]])
    await clock.advance(2_000)
    expect([redis.pending('orders', 'billing'), redis.delayed('orders')]).toMatchObject([[{ deliveryCount: 2 }], []])
    await clock.advance(50_000)
    expect(await polling).toMatchObject({ promoted: 1, acked: 1, deadLettered: 1 })
  })

  it('who listens where no request waits, and hears of none, promotes nothing', async () => {
    const clock = createVirtualClock()
    const redis = withGroup(connectMemory({ clock }), (group) => ({
      openWaiter() {
        const waiter = group.openWaiter?.() as EntryWaiter
        return {
          end: () => waiter.end(),
          maxWaitMs: 0,
          read: (slot, request) => waiter.read(slot, { ...request, waitMs: 0 }),
        }
      },
    }))
    const promote = vi.fn(promoteDelays().promote)
    const polling = poll(
      billing(() => {}, { mode: 'listen', delays: { promote } }),
      { redis, clock, remainingMs: 60_000 },
    )
    await clock.advance(60_000)
    await polling

    expect(promote).not.toHaveBeenCalled()
  })

  it('a claimer in virtual time promotes each at its millisecond, and wakes the poller', async () => {
    const clock = createVirtualClock()
    const redis = connectMemory({ clock })
    const woken: number[] = []
    const wake = {
      group: 'billing',
      windowMs: 1_000,
      wake: async () => void woken.push(clock.now()),
      onError: () => {},
    }
    const consumer = billing(() => {}, { delays: promoteDelays({ wake }) })
    const publisher = createPublisher({ stream: 'orders', redis, clock, wake })
    const startedAt = clock.now()
    for (const delayMs of [5_000, 9_000, 20_000])
      await publisher.publish(OrderPaid, { orderId: `${delayMs}` }, { delayMs })

    const claiming = claim(consumer, { redis, clock, remainingMs: 45_000 })
    await clock.advance(45_000)

    expect((await claiming).promoted).toBe(3)
    expect(woken.map((at) => Math.round((at - startedAt) / 100) / 10)).toEqual([5, 9, 20])
  })
})
