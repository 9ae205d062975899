import { setTimeout as delay } from 'node:timers/promises'
import { claim, createPublisher, defineConsumer, on, poll, rateLimit } from 'millrace'
import { plan } from 'millrace/operate'
import { describe, expect, test } from 'vitest'
import { COMMANDS_PER_STEP, IDLE_ROUND_TRIPS } from '../../../src/operate/plan/commands.ts'
import { claimOnce } from '../../support/claim-once.ts'
import { billing, names, OrderPaid, startScenario } from '../../support/scenario.ts'
import { watchCommands } from '../../support/watch-commands.ts'

// a death would use up the only delivery, so that nothing is read ahead, which may save an acknowledgement
const consumer = billing(() => {}, { batchSize: 10, maxDeliveries: 1 })

/** A month of 30 days. */
const MINUTES = 43_200

describe('what plan() counts with is what is sent', () => {
  test.each([
    ['idlePoll', 0, 'drain'],
    ['drainBatch', 10, 'drain'],
    ['drainBatch', 25, 'drain'],
    ['onlyBatch', 10, 'once'],
  ] as const)('%s: a poll of %i events in mode %s', async (_name, events, mode) => {
    const { sent, roundTrips } = await during(async ({ redis, publish }) => {
      if (events > 0) await publish(...names('o-', events))
      return () => poll(consumer, { redis, mode })
    })
    const batches = Math.ceil(events / 10)
    const perBatch = mode === 'once' ? COMMANDS_PER_STEP.onlyBatch : COMMANDS_PER_STEP.drainBatch

    const give = batches > 0 ? COMMANDS_PER_STEP.giveSlot : 0
    expect(sent).toBe(COMMANDS_PER_STEP.idlePoll + give + batches * perBatch)
    if (batches === 0) expect(roundTrips).toBe(IDLE_ROUND_TRIPS.idlePoll)
  })

  test('listenSecond and listenEvent: a poller that listens', async () => {
    const scenario = await startScenario()
    const listener = billing(() => {}, { mode: 'listen', handlerTimeoutMs: 200, reserveMs: 100, minIdleMs: 6_000 })
    const stop = new AbortController()
    const polling = poll(listener, { redis: scenario.redis, remainingMs: 20_000, signal: stop.signal })
    await delay(1_500)
    const watch = await watchCommands(scenario.server.url)
    const count = async () => (await watch.sent()).length
    const before = await count()
    await delay(4_000)
    const idle = (await count()) - before
    for (const order of names('o', 20)) {
      await scenario.publish(order)
      await delay(20)
    }
    const atEvents = (await count()) - before - idle
    stop.abort()
    await polling

    expect(idle / 4).toBeLessThanOrEqual(COMMANDS_PER_STEP.listenSecond + 1)
    // what is published is sent, too
    expect((atEvents - 20) / 20).toBeLessThanOrEqual(COMMANDS_PER_STEP.listenEvent + 0.5)
  })

  test('idleClaim: a claim of nothing', async () => {
    const { sent, roundTrips } = await during(
      async ({ redis }) =>
        () =>
          claimOnce(consumer, { redis }),
    )

    expect(sent).toBe(COMMANDS_PER_STEP.idleClaim)
    expect(roundTrips).toBe(IDLE_ROUND_TRIPS.idleClaim)
  })

  test.each([false, true])('publish and flag: an event, its publisher waking: %s', async (wakes) => {
    const wake = { group: 'billing', windowMs: 60_000, wake: async () => {}, onError: () => {} }
    const { sent } = await during(async ({ redis }) => {
      const publisher = createPublisher({ stream: 'orders', redis, ...(wakes && { wake }) })
      return () => publisher.publish(OrderPaid, { orderId: 'o-1' })
    })

    // this one raised it
    expect(sent).toBe(COMMANDS_PER_STEP.publish + (wakes ? COMMANDS_PER_STEP.flag + 1 : 0))
  })

  /** Warms up both functions, so that scripts are known and the group is there, and counts what the work sends. */
  async function during(
    prepare: (scenario: Awaited<ReturnType<typeof startScenario>>) => Promise<() => Promise<unknown>>,
  ) {
    const scenario = await startScenario()
    await scenario.publish('a')
    for (const run of [poll, claimOnce]) await run(consumer, { redis: scenario.redis })
    const work = await prepare(scenario)
    const watch = await watchCommands(scenario.server.url)
    const before = (await watch.sent()).length
    const report = (await work()) as { roundTrips?: number }
    return { sent: (await watch.sent()).length - before, roundTrips: report.roundTrips }
  }
})

describe('plan()', () => {
  test('a poller that listens works all the time, and keeps every second', () => {
    const listener = billing(() => {}, { mode: 'listen' })
    const given = { eventsPerSecond: 1, handlerMs: 50, memoryMb: 1_024, roundTripMs: 2, functionTimeoutMs: 71_000 }

    const { latency, retries, month } = plan(listener, given)
    expect(latency).toMatchObject({ meanMs: 52, worstMs: 2_064 })
    expect(retries).toEqual({ firstMs: 2_000, laterMs: 2_000, waitingGbSeconds: 2_592_000 })
    expect(month.poller.gbSeconds).toBe(MINUTES * 60)
  })

  test.each([
    [{}, 60_014],
    [{ wakesClaimer: true }, 2_000],
    [{ scheduleMs: 1_000 }, 2_000],
  ])('says how late a first retry may be with %o', (options, firstMs) => {
    expect(plan(consumer, options).retries.firstMs).toBe(firstMs)
  })

  test('an idle consumer costs its ticks', () => {
    const { month } = plan(consumer, { eventsPerSecond: 0 })

    expect(month).toEqual({
      poller: { invocations: MINUTES, gbSeconds: 302, redisCommands: MINUTES * 2 },
      claimer: { invocations: MINUTES, gbSeconds: 302, redisCommands: MINUTES * 6 },
      publisherCommands: 0,
      ticks: 2 * MINUTES,
      price: {},
    })
  })

  test('counts batches and rounds of what a tick finds', () => {
    const { month } = plan(consumer, { eventsPerSecond: 1, handlerMs: 100, memoryMb: 1_024, roundTripMs: 0 })

    // 60 events per tick: 6 batches of 10, each one round of 10 handlers
    expect(month.poller).toEqual({
      invocations: MINUTES,
      gbSeconds: (MINUTES * (10 + 6 * 100)) / 1_000,
      redisCommands: MINUTES * (3 + 6 * 3),
    })
    expect(month.publisherCommands).toBe(MINUTES * 60)
  })

  test('prices what rates are given for', () => {
    const rates = { lambdaGbSecond: 0.00001, lambdaRequest: 0.0000002, schedule: 0.000001, redisCommand: 0.000002 }
    const { price } = plan(consumer, { eventsPerSecond: 0, rates }).month

    expect(price.lambda).toBeCloseTo(604 * 0.00001 + 2 * MINUTES * 0.0000002)
    expect(price.schedules).toBeCloseTo(2 * MINUTES * 0.000001)
    expect(price.redis).toBeCloseTo(8 * MINUTES * 0.000002)
  })

  test('a schedule takes half a period on average and a whole one at worst', () => {
    const { latency } = plan(consumer, { eventsPerSecond: 0, handlerMs: 100, roundTripMs: 0 })

    expect(latency).toEqual({ meanMs: 30_110, worstMs: 60_110, afterCrashMs: 120_110 })
  })

  test('a wake-up takes a function’s start, and costs an invocation and two commands per event', () => {
    const { latency, month } = plan(consumer, { eventsPerSecond: 0.1, handlerMs: 100, roundTripMs: 0, wakes: true })

    expect(latency).toMatchObject({ meanMs: 160, worstMs: 60_110 })
    expect(month.poller.invocations).toBe(Math.round(MINUTES + 2_592_000 / 10.05))
    expect(month.publisherCommands).toBe(259_200 * 3)
  })

  test.each([
    ['a drain is bounded by its time', { mode: 'drain' }, { pollers: 1 }, 10 * 10 * (44 / 60)],
    ['two pollers do twice as much', { mode: 'drain' }, { pollers: 2 }, 20 * 10 * (44 / 60)],
    ['no more than maxPollers', { mode: 'drain', maxPollers: 1 }, { pollers: 2 }, 10 * 10 * (44 / 60)],
    ['maxRunMs bounds it as well', { mode: 'drain', maxRunMs: 6_000 }, {}, 10],
    ['once is a batch a tick', { mode: 'once' }, {}, 10 / 60],
    ['a function that is too short does nothing', {}, { functionTimeoutMs: 10_000 }, 0],
  ] as const)('%s', (_title, settings, options, expected) => {
    const one = billing(() => {}, { batchSize: 10, ...settings })
    const { capacity } = plan(one, { handlerMs: 100, roundTripMs: 0, ...options })

    expect(capacity.eventsPerSecond).toBeCloseTo(expected)
  })

  test('says so where the pollers do not keep up', () => {
    const { capacity, latency } = plan(consumer, { eventsPerSecond: 1_000, handlerMs: 100 })

    expect(capacity).toMatchObject({ keepsUp: false, used: expect.closeTo(13.9, 1) })
    expect(latency).toMatchObject({ meanMs: Infinity, worstMs: Infinity })
  })

  test('no mean is above the worst, also where a drain takes longer than the period', () => {
    const slow = { scheduleMs: 300_000, functionTimeoutMs: 900_000, handlerMs: 20_000, roundTripMs: 0 }
    // 300 events, 100 in 10 rounds of 20 s: the last of them ends 600 s after their poll has begun
    expect(
      plan(
        billing(() => {}, { batchSize: 100 }),
        slow,
      ).latency,
    ).toMatchObject({
      meanMs: 470_010,
      worstMs: 620_010,
    })
    for (const mode of ['once', 'drain', 'listen'] as const)
      for (const scheduleMs of [1_000, 60_000, 300_000])
        for (const eventsPerSecond of [0, 0.01, 0.5, 5, 50])
          for (const wakes of [true, false]) {
            const options = { ...slow, scheduleMs, eventsPerSecond, wakes }
            const { meanMs, worstMs } = plan(
              billing(() => {}, { mode, batchSize: 100 }),
              options,
            ).latency
            expect(meanMs, JSON.stringify({ mode, ...options })).toBeLessThanOrEqual(worstMs)
          }
  })

  test('names the limits that handlers exceed, and the routes that have them', () => {
    const route = (type: string, handlerTimeoutMs?: number) =>
      on({ ...OrderPaid, type }, () => {}, handlerTimeoutMs === undefined ? {} : { handlerTimeoutMs })
    const routes = [route('A'), route('B', 30_000), route('C', 5_000), route('D')]
    const own = defineConsumer({ stream: 'orders', group: 'billing', routes })

    expect(plan(own, { handlerMs: 20_000 }).timeouts).toEqual([
      { handlerTimeoutMs: 10_000, eventTypes: ['A', 'D'] },
      { handlerTimeoutMs: 5_000, eventTypes: ['C'] },
    ])
    expect(plan(own.settings, { handlerMs: 20_000 }).timeouts).toEqual([{ handlerTimeoutMs: 10_000, eventTypes: [] }])
    expect(plan(own, { handlerMs: 5_000 }).timeouts).toEqual([])
  })

  test('keeps the time of the longest of its routes', () => {
    const of = (handlerTimeoutMs: number) => ({ handlerTimeoutMs, minIdleMs: 60_000, batchSize: 10 })
    const { stream, group } = consumer
    const own = defineConsumer({
      stream,
      group,
      ...of(1_000),
      routes: [on(OrderPaid, () => {}, { handlerTimeoutMs: 30_000 })],
    })

    expect(plan(own)).toEqual(plan(billing(() => {}, of(30_000))))
  })

  test('takes settings as well', () => {
    expect(plan(consumer.settings)).toEqual(plan(consumer))
  })

  test.each([
    [{ fast: true }, /unknown option "fast"/],
    [{ scheduleMs: 0 }, /scheduleMs must be >= 1, got 0/],
    [{ eventsPerSecond: -1 }, /eventsPerSecond must be >= 0, got -1/],
    [{ pollers: 1.5 }, /pollers must be a whole number/],
    [{ rates: { redis: 1 } }, /unknown option "redis"/],
    [{ rates: { redisCommand: '1' } }, /rates.redisCommand must be a number/],
  ])('refuses %j', (options, message) => {
    expect(() => plan(consumer, options as never)).toThrow(message)
  })
})

describe('plan() of rate limits', () => {
  const limited = billing(() => {}, { use: [rateLimit({ max: 10, perMs: 1_000 })] })

  test('says how long a backlog takes, and what runs cost that wait for turns', () => {
    const { rateLimits, capacity } = plan(limited, { backlog: 1_000, eventsPerSecond: 1, memoryMb: 1_024 })

    // 9.71 a second, of which one goes to what comes meanwhile; a poller and a claimer are there for 55 s of each minute
    expect(rateLimits).toEqual(
      [
        {
          max: 10,
          perMs: 1_000,
          isByName: false,
          eventsPerSecond: 1_000 / 103,
          used: expect.closeTo(0.103, 5),
          backlogMs: 114_827,
          backlogGbSeconds: 211,
          backlogRedisCommands: 5_450,
        },
      ].map((one) => expect.objectContaining({ ...one, eventsPerSecond: expect.closeTo(one.eventsPerSecond, 2) })),
    )
    expect(capacity.eventsPerSecond).toBeCloseTo(1_000 / 103, 2)
  })

  test('says so where more comes than may start', () => {
    const { rateLimits, capacity } = plan(limited, { backlog: 1, eventsPerSecond: 20 })

    expect(capacity.keepsUp).toBe(false)
    expect(rateLimits).toMatchObject([
      { backlogMs: Infinity, backlogGbSeconds: expect.toSatisfy((n) => n > 1_000_000) },
    ])
  })

  test('takes one beside, and lets none of a name or a type hold back the others', () => {
    const by = rateLimit({ max: 1, perMs: 1_000, by: ({ type }) => type })
    const { rateLimits, capacity } = plan(
      billing(() => {}, { use: [by] }),
      { rateLimit: { max: 5, perMs: 1_000 } },
    )

    expect(rateLimits.map(({ max, isByName }) => [max, isByName])).toEqual([
      [1, true],
      [5, false],
    ])
    expect(capacity.eventsPerSecond).toBeCloseTo(5_000 / 1_030, 2)
  })

  test.each([
    [{ backlog: -1 }, /backlog must be >= 0/],
    [{ rateLimit: { max: 0, perMs: 1 } }, /rateLimit.max must be/],
    [{ rateLimit: { max: 1, perMs: 1, by: 1 } }, /by/],
  ])('refuses %j', (options, message) => {
    expect(() => plan(limited, options as never)).toThrow(message)
  })

  test('counts about as many commands as a claimer sends that waits for turns', async () => {
    const { redis, publish, server } = await startScenario()
    const paced = billing(() => {}, { use: [rateLimit({ max: 5, perMs: 1_000 })], mode: 'once', batchSize: 100 })
    await publish(...names('o', 60))
    await poll(paced, { redis, remainingMs: 12_000 })
    const watch = await watchCommands(server.url)
    const report = await claim(paced, { redis, remainingMs: 16_000 })
    const sent = (await watch.sent()).length
    const planned =
      (report.durationMs / 1_000) * COMMANDS_PER_STEP.turnSecond + report.acked * COMMANDS_PER_STEP.turnEvent

    expect(report.acked).toBeGreaterThan(9)
    expect(sent / planned).toBeGreaterThan(0.4)
    // a lap over the consumers more or less, as entries come back
    expect(sent / planned).toBeLessThan(2.5)
  })
})
