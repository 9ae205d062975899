import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Redis } from 'ioredis'
import type { Connection, ConsumerOptions, Report } from 'millrace'
import { createPoller, createPublisher, NonRetryableError, promoteDelays, rateLimit } from 'millrace'
import { connect as connectUrl } from 'millrace/connect'
import { pause, redriveDeadLetters, resume } from 'millrace/operate'
import { connectMemory } from 'millrace/testing'
import { describe, expect, it, onTestFinished, test, vi } from 'vitest'
import { claimOnce } from '../support/claim-once.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { startRestServer } from '../support/rest-server.ts'
import { difference, lambdaContext, type Scenario, startScenario } from '../support/scenario.ts'
import { delay, publishing, Steps, Stepped, startPoll, stepping } from '../support/steps.ts'

/** Milliseconds within which somebody listens again, whatever happened. */
const AGAIN_MS = 2_000

/** What a listener hears of within that time. */
const SOON_MS = 1_100

/** Connections to a server, and to what behaves like one. */
const CONNECTIONS: Readonly<Record<string, () => Promise<Connection>>> = {
  memory: async () => connectMemory(),
  TCP: async () => (await startScenario()).redis,
  async REST() {
    const { server } = await startScenario()
    return restTo(server.url)
  },
}

async function restTo(redisUrl: string, onServer: (rest: { requests: number }) => void = () => {}) {
  const rest = await startRestServer({ redisUrl, token: 'secret' })
  const redis = connectUrl(rest.url.replace('://', '://:secret@'))
  onTestFinished(async () => {
    await redis.close()
    await rest.close()
  })
  onServer(rest)
  return redis
}

async function slotOf(raw: Redis): Promise<string> {
  return vi.waitUntil(() => raw.get('{orders}:billing:slot:poller-0'), { timeout: 5_000, interval: 5 })
}

/** Waits until a poller waits at the bell. */
async function listens({ raw }: Scenario): Promise<void> {
  await vi.waitUntil(async () => /flags=\S*b/.test(String(await raw.client('LIST'))), { timeout: 5_000, interval: 5 })
}

const failingOnce =
  (...which: string[]) =>
  (key: string, step: number, { deliveryCount }: { deliveryCount: number }) => {
    if (which.includes(`${key}${step}`) && deliveryCount === 1) throw new Error('once')
  }

describe.each(Object.entries(CONNECTIONS))('an ordered poller that listens, %s', (name, connect) => {
  const begin = async (
    then?: ConstructorParameters<typeof Steps>[0],
    options: Partial<ConsumerOptions> = {},
  ) => {
    const redis = await connect()
    const steps = new Steps(then)
    const consumer = stepping(steps, options)
    return { redis, steps, consumer, publish: publishing(redis), ...startPoll(consumer, { redis }) }
  }

  it('handles what comes when it comes, in order, and leaves nothing behind', async () => {
    const { steps, publish, end } = await begin()
    for (let step = 1; step <= 3; step++) {
      await publish(`a${step}`, `b${step}`)
      await steps.until('b', step, SOON_MS)
    }
    await steps.until('a', 3, SOON_MS)

    const report = await end()

    expect(report).toMatchObject({ read: 6, acked: 6, noFreeSlot: false })
    expect([difference(report), steps.outOfOrder]).toEqual([0, []])
  })

  it('retries what failed to the second, what follows of its key at once, and other keys meanwhile', async () => {
    const { steps, publish, end } = await begin(failingOnce('a1'), { backoff: { firstMs: 600, factor: 1, maxMs: 600 } })
    await publish('a1', ...Array.from({ length: 20 }, (_, n) => `a${n + 2}`))
    await vi.waitUntil(() => steps.starts.length === 1, { timeout: AGAIN_MS, interval: 5 })
    await publish('b1')
    await steps.until('b', 1, SOON_MS)
    expect(steps.done('a')).toBe(0)
    await steps.until('a', 21, 4_000)

    const report = await end()

    const ofA = steps.starts.filter(({ key }) => key === 'a')
    const [first, second] = ofA as [(typeof ofA)[0], (typeof ofA)[0]]
    expect(second.at - first.at).toBeGreaterThan(300)
    expect(second.at - first.at).toBeLessThan(600 + AGAIN_MS)
    // each of those behind it is due with the end of the one before
    expect((ofA.at(-1)?.at ?? 0) - second.at).toBeLessThan(1_000)
    expect([difference(report), steps.outOfOrder]).toEqual([0, []])
  })

  it('has what comes later of a key wait behind what failed, and takes the key off its lane afterwards', async () => {
    const { steps, publish, end } = await begin(failingOnce('a1'), { backoff: { firstMs: 900, factor: 1, maxMs: 900 } })
    await publish('a1')
    await vi.waitUntil(() => steps.starts.length === 1, { timeout: AGAIN_MS, interval: 5 })
    for (let step = 2; step <= 5; step++) {
      await delay(50)
      await publish(`a${step}`)
    }
    await steps.until('a', 5, 4_000)
    await publish('a6')
    await steps.until('a', 6, SOON_MS)

    expect((await end()).acked).toBe(6)
    expect(steps.outOfOrder).toEqual([])
  })

  it.skipIf(name === 'memory')('puts a letter back to work before what is undone of its key, without waiting for its end', async () => {
    let isBroken = true
    const { redis, consumer, steps, publish, end } = await begin((_key, step) => {
      if (step === 1 && isBroken) throw new NonRetryableError('never')
    })
    await publish('a1')
    await vi.waitUntil(() => steps.starts.length === 1, { timeout: AGAIN_MS, interval: 5 })
    isBroken = false
    await delay(300)
    await redriveDeadLetters(consumer, { redis, all: true })
    await steps.until('a', 1, 5_000)
    await publish('a2')
    await steps.until('a', 2, AGAIN_MS)

    expect(difference(await end())).toBe(0)
  })

  it('heeds a pause from the wake-up on, until it ends', async () => {
    const { redis, steps, publish, end } = await begin()
    await publish('a1')
    await steps.until('a', 1, AGAIN_MS)
    await pause({ stream: 'orders', group: 'billing' }, { redis })
    await publish('a2')
    await delay(1_500)
    expect(steps.done('a')).toBe(1)
    await resume({ stream: 'orders', group: 'billing' }, { redis })
    await steps.until('a', 2, 4_000)

    expect([difference(await end()), steps.outOfOrder]).toEqual([0, []])
  })

  it('has a key wait for a type that is paused, and others not', async () => {
    const { redis, steps, publish, end } = await begin()
    await publish('a1')
    await steps.until('a', 1, AGAIN_MS)
    await pause({ stream: 'orders', group: 'billing' }, { redis, type: 'Halted', until: new Date(Date.now() + 3_000) })
    await delay(SOON_MS)
    await publish('a!2', 'a3', 'b1')
    await steps.until('b', 1, SOON_MS)
    expect(steps.done('a')).toBe(1)
    await steps.until('a', 3, 5_000)

    expect([difference(await end()), steps.outOfOrder]).toEqual([0, []])
  })
})
