import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { ConsumerOptions, EventHandler, HandlerContext, Report } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, definePolicy, on, poll, promoteDelays } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { pause } from 'millrace/operate'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import * as z from 'zod/mini'
import { OrderPaid } from '../support/consumer.ts'
import { difference, names, type Scenario, startScenario } from '../support/scenario.ts'

const Held = defineEvent('Held', { payload: z.object({ orderId: z.string() }) })
const QUICK = { handlerTimeoutMs: 500, reserveMs: 100, minIdleMs: 6_000, mode: 'listen' } as const

type Told = { readonly payload: { readonly orderId: string } }

/** A poller that listens to a scenario's stream until somebody ends it, or its time is up. */
function listening(
  { redis }: Pick<Scenario, 'redis'>,
  options: Partial<ConsumerOptions> & { readonly remainingMs?: number } = {},
  then: (orderId: string, context: HandlerContext) => unknown = () => {},
) {
  const { remainingMs = 60_000, ...settings } = options
  const calls: { orderId: string; at: number; deliveryCount: number }[] = []
  const handler: EventHandler<never> = (event, context) => {
    const { orderId } = (event as Told).payload
    calls.push({ orderId, at: performance.now(), deliveryCount: context.deliveryCount })
    return then(orderId, context)
  }
  const routes = [on(OrderPaid, handler as never), on(Held, handler as never)]
  const consumer = defineConsumer({ stream: 'orders', group: 'billing', routes, ...QUICK, ...settings })
  const stop = new AbortController()
  const ended: Promise<Report> = poll(consumer, { redis, remainingMs, signal: stop.signal })
  ended.catch(() => {})
  const end = () => {
    stop.abort()
    return ended
  }
  onTestFinished(async () => void (await end().catch(() => {})))
  const handled = (orderId: string, withinMs: number) =>
    vi.waitUntil(() => calls.find((call) => call.orderId === orderId), { timeout: withinMs, interval: 5 })
  return { calls, ended, end, handled }
}

/** A policy that lets so many entries be read. */
const limited = (name: string, limit: () => number) => definePolicy({ name, begin: () => ({ limit }) })

describe('promise 11: a listening poller ends in time', () => {
  it.each<[string, Partial<ConsumerOptions>]>([
    ['with an entry above maxBytes', { maxBytes: 300_000 }],
    ['with a policy that lets nothing be read', { use: [limited('none', () => 0)] }],
    [
      'with a policy that fails',
      {
        use: [
          limited('throws', () => {
            throw new Error('hook')
          }),
        ],
      },
    ],
    ['with all places taken', { concurrency: 1 }],
  ])('%s', async (_what, options) => {
    const scenario = await startScenario()
    const startedAt = performance.now()
    const { ended } = listening(scenario, { remainingMs: 3_000, ...options }, () => delay(400))
    await scenario.publish(`large${'x'.repeat(500_000)}`, ...names('o', 20))
    await ended.catch(() => {})

    expect(performance.now() - startedAt).toBeLessThan(3_000)
  })

  it('also of a group that is paused, without failing', async () => {
    const scenario = await startScenario()
    const { ended } = listening(scenario, { remainingMs: 3_000 })
    await vi.waitUntil(async () => (await scenario.raw.exists('{orders}:billing:slot:poller-0')) === 1)
    await pause({ stream: 'orders', group: 'billing' }, { redis: scenario.redis })

    expect((await ended).paused).toBe(true)
  })
})

describe('promise 20: a listening poller', () => {
  it('takes a due retry beside a backlog of slow entries', async () => {
    const scenario = await startScenario()
    const options = { handlerTimeoutMs: 5_000, minIdleMs: 20_000, remainingMs: 30_000 }
    const { calls, end } = listening(scenario, options, async (orderId, { deliveryCount }) => {
      if (orderId === 'fails' && deliveryCount === 1) throw new Error('no')
      if (orderId !== 'fails') await delay(600)
    })
    await scenario.publish('fails', ...names('slow', 100))
    const times = () => calls.filter(({ orderId }) => orderId === 'fails').map(({ at }) => at)
    await vi.waitUntil(() => times().length === 2, { timeout: 6_000, interval: 5 })
    await end()

    const [first = 0, second = 0] = times()
    expect(second - first).toBeLessThan(1_200 + 2_000)
  })

  it('reads on after a failure as before', async () => {
    const scenario = await startScenario()
    const { handled, end } = listening(scenario, { backoff: { firstMs: 60_000 } }, (orderId) => {
      if (orderId === 'fails') throw new Error('no')
    })
    await scenario.publish('fails')
    await handled('fails', 2_000)
    await delay(50)
    await scenario.publish('next')
    await handled('next', 400)

    expect(difference(await end())).toBe(0)
  })

  it('takes what waited for a pause that ends by itself', async () => {
    const scenario = await startScenario()
    const { handled, end } = listening(scenario)
    await scenario.publish('first')
    await handled('first', 3_000)
    const until = new Date(Date.now() + 1_500)
    await pause({ stream: 'orders', group: 'billing' }, { redis: scenario.redis, type: 'Held', until })
    await delay(1_100)
    const fields = ['eventType', 'Held', 'payload', JSON.stringify({ orderId: 'held' })]
    await scenario.raw.xadd('orders', '*', ...fields)
    await handled('held', 400 + 2_500)

    expect(difference(await end())).toBe(0)
  })

  it('promotes a delayed event for others while its places are taken', async () => {
    const scenario = await startScenario()
    const options = { concurrency: 1, handlerTimeoutMs: 5_000, minIdleMs: 12_000, delays: promoteDelays() }
    const { handled, end } = listening(scenario, options, (orderId) => (orderId === 'slow' ? delay(4_000) : undefined))
    await scenario.publish('slow')
    await handled('slow', 2_000)
    await createPublisher({ stream: 'orders', redis: scenario.redis }).publish(
      OrderPaid,
      { orderId: 'later' },
      { delayMs: 500 },
    )
    await vi.waitUntil(async () => (await scenario.raw.xlen('orders')) === 2, { timeout: 2_500, interval: 10 })
    await end()
  })

  it('hears through a factory that takes its time', async () => {
    const scenario = await startScenario()
    const slow = async () => {
      await delay(1_200)
      return new Redis(scenario.server.url) as never
    }
    const redis = connectIoredis(slow)
    onTestFinished(() => redis.close())
    const { handled, end } = listening({ redis })
    await delay(3_500)
    await scenario.publish('a')
    await handled('a', 500)

    expect(await end()).toMatchObject({ acked: 1 })
  })
})

it('what a policy holds back keeps a listening poller from reading without end', async () => {
  const scenario = await startScenario()
  let running = 0
  const one = definePolicy({
    name: 'one',
    begin: () => ({
      holds: () => running > 0,
      started: () => void running++,
      ended: () => {
        running--
        return new Map()
      },
    }),
  })
  const { end, calls } = listening(scenario, { use: [one] }, () => delay(5))
  for (let n = 0; n < 3; n++) await scenario.publish(...names(`o${n}-`, 1_000))
  await vi.waitUntil(() => calls.length > 20, { timeout: 5_000 })
  const { length } = await scenario.pending()
  await end()

  expect(length).toBeLessThanOrEqual(200)
})

it('a refused wait and a server that is away do not end a listening poller', async () => {
  const scenario = await startScenario()
  const { handled, end } = listening(scenario)
  await scenario.publish('before')
  await handled('before', 3_000)
  await delay(300)
  const [, id = ''] = /id=(\d+) [^\n]*flags=\S*b/.exec(String(await scenario.raw.client('LIST'))) ?? []
  await scenario.raw.client('UNBLOCK', Number(id), 'ERROR')
  scenario.server.kill('SIGKILL')
  await delay(800)
  await scenario.server.restart()
  await vi.waitUntil(
    () =>
      scenario.publish('after').then(
        () => true,
        () => false,
      ),
    { timeout: 5_000 },
  )
  await handled('after', 4_000)

  expect(difference(await end())).toBe(0)
})
