import type { ClaimerWake, Consumer, HandlerContext, Report } from 'millrace'
import { claim, createClaimer, createPoller, createPublisher, poll } from 'millrace'
import type { VirtualClock } from 'millrace/testing'
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

/** A context of Lambda with that much time. */
function within(clock: VirtualClock, ms: number) {
  const deadline = clock.monotonic() + ms
  return { getRemainingTimeInMillis: () => deadline - clock.monotonic() }
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

describe('promise 20: the retry clock, in virtual time', () => {
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

describe('the retry clock with a claimer that is woken', () => {
  /** A poller whose failures wake a claimer of that much time. */
  function waking(clock: VirtualClock, consumer: Consumer, timeoutMs: number) {
    const redis = connectMemory({ clock })
    const claiming: Promise<Report>[] = []
    const invoked: number[] = []
    const wake: ClaimerWake = {
      async wake() {
        invoked.push(clock.now())
        claiming.push(claimer({}, within(clock, timeoutMs)))
      },
      onError: (error) => {
        throw error
      },
    }
    const claimer = createClaimer(consumer, { redis, clock, wake })
    return { redis, invoked, claiming, poller: createPoller(consumer, { redis, clock, wake }) }
  }

  /** What becomes within a minute of an entry that is published and polled once. */
  async function afterOne(clock: VirtualClock, consumer: Consumer, timeoutMs: number) {
    const { redis, poller, invoked, claiming } = waking(clock, consumer, timeoutMs)
    await createPublisher({ stream: 'orders', redis, clock }).publish(OrderPaid, { orderId: 'a' })
    const polling = poller({}, within(clock, timeoutMs))
    await clock.advance(MINUTE)
    await Promise.all([polling, ...claiming])
    return { redis, invoked }
  }

  it('the attempts start at their second, at the cost of one invocation', async () => {
    const clock = createVirtualClock()
    const { attempts, consumer } = failing(clock.now)

    const { redis, invoked } = await afterOne(clock, consumer, MINUTE)

    expectKept(attempts)
    expect(invoked).toHaveLength(1)
    expect(redis.entries('{orders}:billing:dlq')).toHaveLength(1)
  })

  it('a claimer whose time is up wakes the next one', async () => {
    const clock = createVirtualClock()
    const { attempts, consumer } = failing(clock.now, { handlerTimeoutMs: SECOND, minIdleMs: MINUTE })

    const { invoked } = await afterOne(clock, consumer, 12 * SECOND)

    expectKept(attempts)
    expect(invoked.length).toBeGreaterThan(1)
    expect(invoked.length).toBeLessThan(5)
  })

  it("what can be in nobody's time wakes nobody again and again", async () => {
    const clock = createVirtualClock()
    const { attempts, consumer } = failing(clock.now, {
      handlerTimeoutMs: SECOND,
      minIdleMs: MINUTE,
      backoff: { firstMs: 40 * SECOND, maxMs: MINUTE },
    })

    const { invoked } = await afterOne(clock, consumer, 5 * SECOND)

    expect(attempts).toHaveLength(1)
    expect(invoked).toHaveLength(1)
  })

  it('failures of every moment are retried in time by few invocations', async () => {
    const clock = createVirtualClock()
    const attempts = new Map<string, { at: number; deliveryCount: number }[]>()
    const consumer = billing(
      (event: never, { deliveryCount }: HandlerContext) => {
        const { orderId } = (event as { payload: { orderId: string } }).payload
        attempts.set(orderId, [...(attempts.get(orderId) ?? []), { at: clock.now(), deliveryCount }])
        throw new Error('no')
      },
      { concurrency: 50 },
    )
    const { redis, poller, invoked, claiming } = waking(clock, consumer, MINUTE)
    const publisher = createPublisher({ stream: 'orders', redis, clock })
    const polling: Promise<Report>[] = []
    for (let n = 0; n < 40; n++) {
      await publisher.publish(OrderPaid, { orderId: `o${n}` })
      polling.push(poller({}, within(clock, MINUTE)))
      await clock.advance(SECOND / 2)
    }
    await clock.advance(MINUTE)
    await Promise.all([...polling, ...claiming])

    expect(attempts.size).toBe(40)
    for (const each of attempts.values()) expectKept(each)
    expect(redis.entries('{orders}:billing:dlq')).toHaveLength(40)
    expect(invoked.length).toBeLessThan(15)
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
