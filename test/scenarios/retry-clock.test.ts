import type { HandlerContext } from 'millrace'
import { claim, createPublisher, poll } from 'millrace'
import { connectMemory, createVirtualClock } from 'millrace/testing'
import { describe, expect, it } from 'vitest'
import { billing, OrderPaid, startScenario } from '../support/scenario.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND

/** A consumer that always fails, and when its deliveries started. */
function failing(now: () => number, options: Parameters<typeof billing>[1] = {}) {
  const attempts: { at: number; deliveryCount: number }[] = []
  const consumer = billing((_event: never, { deliveryCount }: HandlerContext) => {
    attempts.push({ at: now(), deliveryCount })
    throw new Error('no')
  }, options)
  return { attempts, consumer }
}

/** Seconds after the first attempt at which the others started: 1, 3, 7, 15 by the back-off's doubling, 20 % sooner or later. */
function expectKept(attempts: readonly { at: number; deliveryCount: number }[]): void {
  const [first, ...others] = attempts.map(({ at }) => at)
  expect(attempts.map(({ deliveryCount }) => deliveryCount)).toEqual([1, 2, 3, 4, 5])
  let before = first as number
  for (const [n, at] of others.entries()) {
    const backoffMs = 2 ** n * SECOND
    expect(at - before).toBeGreaterThanOrEqual(0.8 * backoffMs - 1)
    expect(at - before).toBeLessThanOrEqual(1.2 * backoffMs + 2 * SECOND)
    before = at
  }
}

/** A group in memory whose functions are invoked once a minute for that long. */
async function everyMinute(
  invocations: (redis: ReturnType<typeof connectMemory>, remainingMs: number) => Promise<unknown>[],
  timeoutMs: number,
  minutes: number,
  clock: ReturnType<typeof createVirtualClock>,
  redis: ReturnType<typeof connectMemory>,
) {
  const running: Promise<unknown>[] = []
  for (let minute = 0; minute < minutes; minute++) {
    running.push(...invocations(redis, timeoutMs))
    await clock.advance(MINUTE)
  }
  await clock.advance(timeoutMs)
  await Promise.all(running)
}

describe('the retry clock, in virtual time', () => {
  it('with mode listen the attempts start at their second', async () => {
    const clock = createVirtualClock()
    const redis = connectMemory({ clock })
    const { attempts, consumer } = failing(clock.now)
    await createPublisher({ stream: 'orders', redis, clock }).publish(OrderPaid, { orderId: 'a' })

    await everyMinute(
      (redis, remainingMs) => [poll(consumer, { redis, clock, remainingMs, mode: 'listen' })],
      75 * SECOND,
      2,
      clock,
      redis,
    )

    expectKept(attempts)
    expect(redis.entries('{orders}:billing:dlq')).toHaveLength(1)
  })

  it('a claimer waits for what is due, and asks nothing meanwhile', async () => {
    const clock = createVirtualClock()
    const redis = connectMemory({ clock })
    const { attempts, consumer } = failing(clock.now)
    await createPublisher({ stream: 'orders', redis, clock }).publish(OrderPaid, { orderId: 'a' })
    await poll(consumer, { redis, clock })

    const claiming = claim(consumer, { redis, clock, remainingMs: MINUTE })
    await clock.advance(MINUTE)
    const report = await claiming

    expectKept(attempts)
    expect(report).toMatchObject({ claimed: 4, retried: 3, deadLettered: 1 })
    expect(report.roundTrips).toBeLessThan(30)
  })

  it('a claimer ends at once where nothing is due in its time', async () => {
    const clock = createVirtualClock()
    const redis = connectMemory({ clock })
    const { consumer } = failing(clock.now, { backoff: { firstMs: 10 * MINUTE, maxMs: 10 * MINUTE } })
    await createPublisher({ stream: 'orders', redis, clock }).publish(OrderPaid, { orderId: 'a' })
    await poll(consumer, { redis, clock })

    const report = await claim(consumer, { redis, clock, remainingMs: MINUTE })

    expect(report).toMatchObject({ claimed: 0, drained: true })
  })
})

describe('the retry clock, on a server', () => {
  it('with mode listen the attempts start at their second', async () => {
    const { redis, publish, deadLetters } = await startScenario()
    const backoff = { firstMs: 250, factor: 2, maxMs: 10_000 }
    const { attempts, consumer } = failing(Date.now, { backoff })
    await publish('a')

    await poll(consumer, { redis, mode: 'listen', remainingMs: 18_000 })

    expect(attempts).toHaveLength(5)
    expect(await deadLetters()).toHaveLength(1)
  })
})
