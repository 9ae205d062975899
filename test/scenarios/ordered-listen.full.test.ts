import type { Connection, ConsumerOptions, Report } from 'millrace'
import { createPublisher, definePolicy, orderedBy, poll, promoteDelays, rateLimit } from 'millrace'
import { connect as connectUrl } from 'millrace/connect'
import { pause, resume } from 'millrace/operate'
import { connectMemory } from 'millrace/testing'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { claimOnce } from '../support/claim-once.ts'
import { startRestServer } from '../support/rest-server.ts'
import { difference, startScenario } from '../support/scenario.ts'
import { delay, publishing, Stepped, Steps, startPoll, stepping } from '../support/steps.ts'

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

async function restTo(redisUrl: string) {
  const rest = await startRestServer({ redisUrl, token: 'secret' })
  const redis = connectUrl(rest.url.replace('://', '://:secret@'))
  onTestFinished(async () => {
    await redis.close()
    await rest.close()
  })
  return redis
}

const failingOnce =
  (...which: string[]) =>
  (key: string, step: number, { deliveryCount }: { deliveryCount: number }) => {
    if (which.includes(`${key}${step}`) && deliveryCount === 1) throw new Error('once')
  }

const tried = new WeakMap<Steps, Set<string>>()

/** Each seventh step of a key fails, once. */
function failOnceIn(steps: Steps, key: string, step: number): void {
  const of = tried.get(steps) ?? new Set()
  tried.set(steps, of)
  if (step % 7 !== 0 || of.has(`${key}${step}`)) return
  of.add(`${key}${step}`)
  throw new Error('once')
}

/** Parks that step of each key once, until at once. */
function parkingOnce(step: number) {
  const parked = new Set<string>()
  return definePolicy({
    name: 'parking',
    begin: () => ({
      admit: (jobs) =>
        jobs.map((job) => {
          const { key = '', step: of } = (job.event?.payload ?? {}) as { key?: string; step?: number }
          if (of !== step || parked.has(key)) return undefined
          parked.add(key)
          return { action: 'park' as const, delayMs: 0 }
        }),
    }),
  })
}

describe.each(Object.entries(CONNECTIONS))('an ordered poller that listens, %s', (_name, connect) => {
  const begin = async (then?: ConstructorParameters<typeof Steps>[0], options: Partial<ConsumerOptions> = {}) => {
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

  it('retries what failed to the second, and then what follows of its key at once', async () => {
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

  it('has what comes later of a key wait behind what failed', async () => {
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

  it('obeys a pause from the wake-up on, until it ends', async () => {
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

  it('loses nothing and keeps order while pollers take over from each other', { timeout: 60_000 }, async () => {
    const redis = await connect()
    const steps = new Steps((key, step) => failOnceIn(steps, key, step))
    const consumer = stepping(steps)
    const publish = publishing(redis)
    const total = 300
    const arriving = (async () => {
      for (let step = 1; step <= total; step++) {
        await publish(`a${step}`, `k${step}-1`)
        await delay(20)
      }
    })()
    const polls: Promise<Report>[] = []
    // each is there when the one before it ends
    for (let n = 0; n < 5; n++) {
      polls.push(poll(consumer, { redis, remainingMs: 3_000 }))
      await delay(1_500)
    }
    await arriving
    polls.push(poll(consumer, { redis, remainingMs: 3_000 }))
    await Promise.all(polls)
    // on a busy machine some are left
    while (steps.done('a') < total) polls.push(Promise.resolve(await poll(consumer, { redis, remainingMs: 3_000 })))
    const reports = await Promise.all(polls)

    expect(steps.outOfOrder).toEqual([])
    expect([steps.done('a'), reports.every((report) => difference(report) === 0)]).toEqual([total, true])
    const gaps = steps.starts.map(({ at }, n) => at - (steps.starts[n - 1]?.at ?? at))
    // a look a second, and what a busy machine adds
    expect(Math.max(...gaps)).toBeLessThan(1_000 + AGAIN_MS)
  })

  it('sets nothing aside while what comes before it of its key runs', async () => {
    const { redis, consumer, steps, publish, end } = await begin(
      (_key, step) => (step === 1 ? delay(400) : undefined),
      {
        use: [orderedBy(({ aggregateId }) => aggregateId), parkingOnce(2)],
      },
    )
    await publish('a1')
    await vi.waitUntil(() => steps.starts.length === 1, { timeout: AGAIN_MS, interval: 5 })
    await publish('a2', 'a3')
    while (steps.done('a') === 0) {
      await claimOnce(consumer, { redis })
      await delay(20)
    }
    await steps.until('a', 3, AGAIN_MS)

    expect([difference(await end()), steps.outOfOrder]).toEqual([0, []])
  })

  it('asks no more than twice a second while its policies let nothing be read', async () => {
    const { steps, publish, end } = await begin(undefined, {
      use: [
        orderedBy(({ aggregateId }) => aggregateId),
        definePolicy({ name: 'none', begin: () => ({ limit: () => 0 }) }),
      ],
    })
    await publish('a1')
    await delay(2_000)

    const { roundTrips } = await end()

    expect([steps.starts, roundTrips < 15]).toEqual([[], true])
  })

  it('keeps order under a rate, and takes its turns', async () => {
    const { steps, publish, end } = await begin(failingOnce('a2'), {
      use: [orderedBy(({ aggregateId }) => aggregateId), rateLimit({ max: 20, perMs: 1_000 })],
    })
    await publish(...Array.from({ length: 12 }, (_, n) => `a${n + 1}`), 'b1', 'b2')
    await steps.until('a', 12, 10_000)
    await steps.until('b', 2, 5_000)

    expect([difference(await end()), steps.outOfOrder]).toEqual([0, []])
  })

  it('promotes a delayed event when it is due', async () => {
    const { redis, steps, publish, end } = await begin(undefined, { delays: promoteDelays() })
    await publish('a1')
    await steps.until('a', 1, AGAIN_MS)
    const later = createPublisher({ stream: 'orders', redis })
    await later.publish(Stepped, { key: 'a', step: 2 }, { aggregateId: 'a', delayMs: 700 })
    await steps.until('a', 2, 700 + AGAIN_MS)

    expect([difference(await end()), steps.outOfOrder]).toEqual([0, []])
  })

  describe('a poller that drains and finds the slot taken', () => {
    /** What another holds for so long. */
    const taken = async (heldMs: number, ...published: string[]) => {
      const redis = await connect()
      const steps = new Steps()
      const consumer = stepping(steps, { mode: 'drain' })
      await poll(consumer, { redis })
      await redis.group({ ...consumer } as never).takeSlot('poller', 1, heldMs)
      await publishing(redis)(...published)
      const startedAt = performance.now()
      const report = await poll(consumer, { redis, remainingMs: 10_000 })
      return { report, steps, ms: performance.now() - startedAt }
    }

    it('waits where the lease ends soon, a look a second, and takes over', async () => {
      const { report, steps, ms } = await taken(2_500, 'a1', 'a2')

      expect([steps.done('a'), steps.outOfOrder]).toEqual([2, []])
      expect(report).toMatchObject({ acked: 2, noFreeSlot: false })
      expect(ms).toBeGreaterThan(2_000)
      expect(ms).toBeLessThan(2_500 + AGAIN_MS)
      expect(report.roundTrips).toBeLessThan(12)
    })

    it('waits for nothing where nothing is undone', async () => {
      const { report, ms } = await taken(2_500)

      expect([report.noFreeSlot, ms < 1_000, report.roundTrips <= 3]).toEqual([true, true, true])
    })

    it('waits for no lease that outlasts it, or the next minute', async () => {
      for (const heldMs of [9_500, 90_000]) {
        const { report, ms } = await taken(heldMs, 'a1')
        expect([report.noFreeSlot, ms < 1_000]).toEqual([true, true])
      }
    })
  })
})
