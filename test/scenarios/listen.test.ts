import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Connection, Consumer, EventHandler, Report } from 'millrace'
import { createPoller, createPublisher, defineConsumer, listening as listeningCode, on, poll } from 'millrace'
import { connect } from 'millrace/connect'
import { connectIoredis } from 'millrace/ioredis'
import { pause, resume } from 'millrace/operate'
import { connectMemory } from 'millrace/testing'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { startRestServer } from '../support/rest-server.ts'
import {
  billing,
  difference,
  lambdaContext,
  names,
  noting,
  OrderPaid,
  type Scenario,
  startScenario,
} from '../support/scenario.ts'

/** Handlers are quick here, so that a run of a few seconds has time for them. */
const QUICK = { handlerTimeoutMs: 500, reserveMs: 100, minIdleMs: 6_000, mode: 'listen' } as const

/** Milliseconds within which somebody listens again, whatever happened. */
const AGAIN_MS = 2_000

interface Listening {
  readonly calls: string[]
  readonly ended: Promise<Report>
  /** Ends it, and says what its report says. */
  end(): Promise<Report>
}

/** A poller that listens until somebody ends it. */
function listening(
  redis: Connection,
  options: Partial<Parameters<typeof billing>[1]> & { remainingMs?: number } = {},
  then?: EventHandler<never>,
): Listening {
  const { calls, handler } = noting(then)
  const { remainingMs = 60_000, ...settings } = options
  const stop = new AbortController()
  const ended = poll(billing(handler, { ...QUICK, ...settings }), { redis, remainingMs, signal: stop.signal })
  ended.catch(() => {})
  const end = () => {
    stop.abort()
    return ended
  }
  onTestFinished(async () => void (await end().catch(() => {})))
  return { calls, ended, end }
}

async function calledWith(calls: readonly string[], order: string, withinMs = AGAIN_MS): Promise<void> {
  await vi.waitUntil(() => calls.includes(order), { timeout: withinMs, interval: 5 })
}

/** Names of the commands that clients wait in. */
async function blocked(raw: Redis): Promise<number> {
  const clients = String(await raw.client('LIST'))
  return clients.split('\n').filter((line) => /flags=\S*b/.test(line)).length
}

/** Waits until a poller waits for what comes. */
async function listens({ raw }: Scenario): Promise<void> {
  await vi.waitUntil(async () => (await blocked(raw)) > 0, { timeout: 5_000, interval: 5 })
}

describe('mode listen', () => {
  it('handles what comes when it comes, and leaves nothing behind', async () => {
    const scenario = await startScenario()
    const { calls, end } = listening(scenario.redis)
    await scenario.publish('a')
    await calledWith(calls, 'a')
    await listens(scenario)
    for (const order of names('b', 5)) {
      await scenario.publish(order)
      await calledWith(calls, order, 500)
    }

    const report = await end()

    expect(report).toMatchObject({ read: 6, acked: 6, drained: true })
    expect(difference(report)).toBe(0)
    expect(await scenario.pending()).toEqual([])
    await vi.waitUntil(async () => (await blocked(scenario.raw)) === 0)
    expect(await scenario.raw.exists('{orders}:billing:slot:poller-0')).toBe(0)
  })

  it('ends in time without a signal, and starts nothing that it could not finish', async () => {
    const { redis, publish, pending } = await startScenario()
    const startedAt = performance.now()
    const { ended, calls } = listening(redis, { remainingMs: 2_500 })
    const publishing = setInterval(() => void publish('x').catch(() => {}), 20)

    const report = await ended.finally(() => clearInterval(publishing))

    const ms = performance.now() - startedAt
    expect(ms).toBeLessThan(2_500)
    expect(ms).toBeGreaterThan(1_500)
    expect(report.acked).toBe(calls.length)
    expect(difference(report)).toBe(0)
    expect((await pending()).every(([, owner, count]) => owner === 'parked' && count === 0)).toBe(true)
  })

  it('reads on while a handler is slow', async () => {
    const { redis, publish } = await startScenario()
    const slow = Promise.withResolvers<void>()
    const { calls, end } = listening(redis, { handlerTimeoutMs: 5_000, minIdleMs: 10_000, concurrency: 2 }, () =>
      calls.length === 1 ? slow.promise : undefined,
    )
    await publish('slow')
    await calledWith(calls, 'slow')
    await publish('quick')
    await calledWith(calls, 'quick')
    slow.resolve()

    expect(await end()).toMatchObject({ acked: 2 })
  })

  it('loses nothing while pollers take over from each other', async () => {
    const { redis, publish, pending } = await startScenario()
    const { calls, handler } = noting()
    const consumer = billing(handler, QUICK)
    const orders = names('o', 300)
    const publishing = (async () => {
      for (const order of orders) {
        await publish(order)
        await delay(10)
      }
    })()
    const polls: Promise<Report>[] = []
    for (let n = 0; n < 8; n++) {
      polls.push(poll(consumer, { redis, remainingMs: 1_600 }))
      await delay(600)
    }
    await publishing
    polls.push(poll(consumer, { redis, remainingMs: 1_600 }))

    const reports = await Promise.all(polls)

    expect(calls.toSorted()).toEqual(orders.toSorted())
    expect(await pending()).toEqual([])
    expect(reports.every((report) => !report.noFreeSlot && difference(report) === 0)).toBe(true)
  })

  it('takes over the only slot once it is free', async () => {
    const scenario = await startScenario()
    const first = listening(scenario.redis, { maxPollers: 1 })
    await listens(scenario)
    const second = listening(scenario.redis, { maxPollers: 1 })
    await first.end()
    await scenario.publish('a')
    await calledWith(second.calls, 'a')

    expect(await second.end()).toMatchObject({ acked: 1, noFreeSlot: false })
  })

  it('serves several consumers, each on a connection of its own', async () => {
    const { redis, raw, publish } = await startScenario()
    const seen: string[] = []
    const consumers: Consumer[] = ['billing', 'search'].map((group) =>
      defineConsumer({ stream: 'orders', group, routes: [on(OrderPaid, () => void seen.push(group))], ...QUICK }),
    )
    const stop = new AbortController()
    const polling = poll(consumers, { redis, signal: stop.signal })
    await vi.waitUntil(async () => (await blocked(raw)) === 2, { timeout: 5_000, interval: 5 })
    await publish('a')
    await vi.waitUntil(() => seen.length === 2, { timeout: 500, interval: 5 })
    stop.abort()

    expect((await polling).consumers.map(({ acked }) => acked)).toEqual([1, 1])
  })

  it('runs a last delivery with nothing beside it', async () => {
    const { redis, publish, deadLetters } = await startScenario()
    let running = 0
    let beside = 0
    const { end } = listening(
      redis,
      { maxDeliveries: 2, backoff: { firstMs: 100, factor: 1, maxMs: 100 } },
      async (event, { deliveryCount }) => {
        const { orderId } = (event as { payload: { orderId: string } }).payload
        running++
        if (deliveryCount === 2 || orderId.startsWith('new')) await delay(30)
        if (deliveryCount === 2) beside = Math.max(beside, running)
        running--
        if (orderId.startsWith('bad')) throw new Error('no')
      },
    )
    await publish(...names('bad', 5))
    const publishing = setInterval(() => void publish('new').catch(() => {}), 15)
    await vi.waitUntil(async () => (await deadLetters()).length === 5, { timeout: 10_000, interval: 20 })
    clearInterval(publishing)

    expect(difference(await end())).toBe(0)
    expect(beside).toBe(1)
  })
})

describe('mode listen, once something breaks', () => {
  it.each([
    [
      'the connection that waits is cut',
      async ({ raw }: Scenario) => void (await raw.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')),
    ],
    ['the group is destroyed', async ({ raw }: Scenario) => void (await raw.xgroup('DESTROY', 'orders', 'billing'))],
    ['the stream is deleted', async ({ raw }: Scenario) => void (await raw.del('orders'))],
    ['everything is flushed', async ({ raw }: Scenario) => void (await raw.flushall())],
    [
      'a wait is unblocked by hand',
      async ({ raw }: Scenario) => {
        const [, id = ''] = /id=(\d+) [^\n]*flags=\S*b/.exec(String(await raw.client('LIST'))) ?? []
        await raw.client('UNBLOCK', Number(id), 'ERROR')
      },
    ],
  ])('listens again: %s', async (_what, breakIt) => {
    const scenario = await startScenario()
    const { calls, end } = listening(scenario.redis)
    await scenario.publish('before')
    await calledWith(calls, 'before')
    await listens(scenario)
    await breakIt(scenario)
    await delay(10)
    await scenario.publish('after')
    await calledWith(calls, 'after')

    expect(difference(await end())).toBe(0)
    expect(await scenario.pending()).toEqual([])
  })

  it('listens under another name once its slot went to another', async () => {
    const scenario = await startScenario()
    const { calls, end } = listening(scenario.redis)
    await listens(scenario)
    await scenario.raw.set('{orders}:billing:slot:poller-0', 'other', 'PX', 60_000)
    await scenario.publish('read under the name of another')
    await vi.waitUntil(async () => (await scenario.raw.exists('{orders}:billing:slot:poller-1')) === 1)
    await scenario.publish('a')
    await calledWith(calls, 'a')

    expect(difference(await end())).toBe(0)
    expect(calls).toEqual(['a'])
    expect(await scenario.pending()).toEqual([['read under the name of another', 'poller-0', 1]])
  })

  it('what a lost answer brought is handed back, and costs no delivery', async () => {
    const scenario = await startScenario()
    const proxy = await startFaultProxy(scenario.server)
    const redis = scenario.connect(proxy.url)
    const counts: number[] = []
    const { calls, end } = listening(redis, {}, (_event, { deliveryCount }) => void counts.push(deliveryCount))
    await listens(scenario)
    const cut = proxy.cutAfter('BLOCK')
    await cut
    await scenario.publish('a')
    await calledWith(calls, 'a', 10_000)

    expect(await end()).toMatchObject({ acked: 1 })
    expect(counts).toEqual([1])
    await proxy.close()
  })

  it('a server that is away for a second fails no invocation', async () => {
    const scenario = await startScenario()
    const proxy = await startFaultProxy(scenario.server)
    const { calls, end } = listening(scenario.connect(proxy.url))
    await listens(scenario)
    proxy.stall()
    await delay(1_000)
    proxy.severAll()
    proxy.resume()
    await scenario.publish('a')
    await calledWith(calls, 'a', 4_000)

    expect(await end()).toMatchObject({ acked: 1 })
    await proxy.close()
  })

  it('an invocation fails, once, where the server stays away', async () => {
    const scenario = await startScenario()
    const { ended } = listening(scenario.redis, { remainingMs: 3_000 })
    await listens(scenario)
    await scenario.server.stop()

    await expect(ended).rejects.toThrow('Cannot finish poll')
  })

  it('a factory that gives the client in use is refused by name', async () => {
    const { server } = await startScenario()
    const shared = new Redis(server.url)
    onTestFinished(() => shared.disconnect())

    await expect(
      listening(
        connectIoredis(() => shared as never),
        { remainingMs: 5_000 },
      ).ended,
    ).rejects.toThrow("mode 'listen' waits on a connection of its own")
  })
})

describe('mode listen, beside others', () => {
  it('a pause holds from the wake-up on, until it ends', async () => {
    const scenario = await startScenario()
    const { calls, end } = listening(scenario.redis)
    await listens(scenario)
    await pause({ stream: 'orders', group: 'billing' }, { redis: scenario.redis })
    await scenario.publish('a')
    await delay(1_500)
    expect(calls).toEqual([])
    await resume({ stream: 'orders', group: 'billing' }, { redis: scenario.redis })
    await calledWith(calls, 'a', 4_000)

    expect(difference(await end())).toBe(0)
  })

  it('publishers wake nobody while somebody listens, and somebody afterwards', async () => {
    const scenario = await startScenario()
    const woken: number[] = []
    const wake = { group: 'billing', windowMs: 50, wake: async () => void woken.push(1), onError: () => {} }
    const publisher = createPublisher({ stream: 'orders', redis: scenario.redis, wake })
    const { calls, ended } = listening(scenario.redis, { remainingMs: 6_000 })
    await listens(scenario)
    for (const orderId of names('o', 10)) {
      await publisher.publish(OrderPaid, { orderId })
      await delay(100)
    }
    expect(woken).toEqual([])
    await ended
    expect(calls).toHaveLength(10)
    await publisher.publish(OrderPaid, { orderId: 'later' })
    expect(woken).toEqual([1])
  })

  it.each([{ mode: 'listen' }, { mode: 'drain', lingerMs: 600 }] as const)(
    'createPoller() refuses %j without listening(), and what it does not make',
    (settings) => {
      const consumer = billing(noting().handler, settings)
      const create = (listen?: object) =>
        createPoller(consumer, { redis: connectMemory(), ...(listen && { listen: listen as never }) })

      expect(() => create()).toThrow(
        'Cannot create poller: mode listen and lingerMs of group "billing" need listen: listening()',
      )
      expect(() => create({})).toThrow('Cannot create poller: listen must come from listening()')
      expect(() => create(listeningCode())).not.toThrow()
    },
  )

  it('a poller that was woken listens for lingerMs after its last entry', async () => {
    const { redis, publish } = await startScenario()
    const { calls, handler } = noting()
    const poller = createPoller(billing(handler, { ...QUICK, mode: 'drain', lingerMs: 600 }), {
      redis,
      listen: listeningCode(),
    })
    await publish('a')
    const startedAt = performance.now()
    const polling = poller({ millrace: { hop: 0 } }, lambdaContext(20_000))
    await calledWith(calls, 'a')
    await delay(300)
    await publish('b')
    await calledWith(calls, 'b')
    const report = await polling
    const ms = performance.now() - startedAt

    expect(report).toMatchObject({ acked: 2, drained: true })
    expect(ms).toBeGreaterThan(850)
    expect(ms).toBeLessThan(3_000)
    const scheduled = await poller({}, lambdaContext(20_000))
    expect(scheduled.durationMs).toBeLessThan(500)
  })
})

describe('mode listen over REST', () => {
  it('asks at most once a second while idle, and handles what comes within 1.1 s', async () => {
    const { server, publish } = await startScenario()
    const rest = await startRestServer({ redisUrl: server.url, token: 'secret' })
    const redis = connect(rest.url.replace('://', '://:secret@'))
    onTestFinished(async () => {
      await redis.close()
      await rest.close()
    })
    const { calls, end } = listening(redis)
    await delay(2_500)
    const { requests } = rest
    await delay(3_000)
    expect(rest.requests - requests).toBeLessThanOrEqual(3)
    await publish('a')
    await calledWith(calls, 'a', 1_100)

    expect(await end()).toMatchObject({ acked: 1 })
  })
})
