import type { Consumer, ConsumerOptions, Report } from 'millrace'
import { circuitBreaker, claim, concurrencyLimit, createPublisher, orderedBy, poll, rateLimit } from 'millrace'
import { pause } from 'millrace/operate'
import { describe, expect, it } from 'vitest'
import type { Scenario } from '../support/scenario.ts'
import { startScenario } from '../support/scenario.ts'
import { billing, Paid } from './world.ts'

const order = orderedBy(({ aggregateId }) => aggregateId)
const KEYS = ['a', 'b', 'c', 'd', 'e']
const breaker = circuitBreaker({ failures: 1, perMs: 60_000, probeAfterMs: 30_000 })
/** A run lasts for its time without that of a handler and the reserve: three seconds. */
const REMAINING_MS = 5_000
const HANDLER_TIMEOUT_MS = 1_000
const RUN_S = 3

/** Places of the consumer's limit that a run holds which died, after calls of 5 ms. */
async function holdPlaces({ raw }: Scenario, places: number): Promise<void> {
  const held = Array.from({ length: places }, (_, n) => [`@claimer-1:dead:${n}-1`, String(Date.now() + 60_000)])
  await raw.hset('{orders}:billing:places:*', 'avg', '5', ...held.flat())
}

async function open({ raw }: Scenario, probe: Record<string, string | number> = {}): Promise<void> {
  const fields = { 'opened Paid': Date.now(), 'until Paid': Date.now() + 60_000, 'error Paid': 'Error', ...probe }
  await raw.hset('{orders}:billing:breakers', fields)
}

interface Held {
  readonly options?: Partial<ConsumerOptions>
  readonly hold?: (scenario: Scenario, consumer: Consumer) => Promise<unknown>
  readonly handlerMs?: number
}

/** By what keeps the first of each lane from starting. */
const HELD: Readonly<Record<string, Held>> = {
  'the place that a dead run holds': {
    options: { use: [order, concurrencyLimit({ max: 1 })] },
    hold: (scenario) => holdPlaces(scenario, 1),
  },
  'the places that a dead run holds': {
    options: { use: [order, concurrencyLimit({ max: 4 })] },
    hold: (scenario) => holdPlaces(scenario, 4),
  },
  'a place that a dead run holds, and a rate': {
    options: { use: [order, rateLimit({ max: 3, perMs: 1_000 }), concurrencyLimit({ max: 1 })] },
    hold: (scenario) => holdPlaces(scenario, 1),
  },
  'a place that another key has': {
    options: { use: [order, concurrencyLimit({ max: 1 })] },
    handlerMs: 900,
  },
  'a rate': { options: { use: [order, rateLimit({ max: 1, perMs: 60_000 })] } },
  'a circuit breaker': { options: { use: [order, breaker] }, hold: (scenario) => open(scenario) },
  'the probe of a dead run': {
    options: { use: [order, breaker] },
    hold: (scenario) => open(scenario, { 'until Paid': 1, 'probe Paid': '1-1', 'held Paid': Date.now() + 60_000 }),
  },
  'a pause': { hold: ({ redis }, consumer) => pause(consumer, { redis }) },
  'a pause of their type': { hold: ({ redis }, consumer) => pause(consumer, { redis, type: 'Paid' }) },
  "the other key's handler": { options: { concurrency: 1 }, handlerMs: 900 },
}

/** Requests that a run may send: in proportion to what it starts, and some a second. */
function most({ invoked }: Report): number {
  return 20 + 15 * RUN_S + 8 * invoked
}

async function startHeld({ options = {}, hold, handlerMs = 0 }: Held) {
  const scenario = await startScenario()
  const { redis } = scenario
  const define = (handler: () => unknown, own: Partial<ConsumerOptions>) =>
    billing(handler, { use: [order], handlerTimeoutMs: HANDLER_TIMEOUT_MS, maxDeliveries: 50, ...own })
  const consumer = define(() => new Promise((resolve) => setTimeout(resolve, handlerMs)), {
    ...options,
    mode: 'listen',
  })
  const failing = define(
    () => {
      throw new Error('no')
    },
    { mode: 'once' },
  )
  const publisher = createPublisher({ stream: 'orders', redis })
  return {
    failing: () => poll(failing, { redis, remainingMs: REMAINING_MS }),
    publish: () =>
      publisher.publishMany(
        [1, 2].flatMap((n) => KEYS.map((key) => [Paid, { id: `${key}${n}` }, { aggregateId: key }] as const)),
      ),
    hold: () => hold?.(scenario, consumer),
    poll: () => poll(consumer, { redis, remainingMs: REMAINING_MS }),
    claim: () => claim(consumer, { redis, remainingMs: REMAINING_MS }),
  }
}

describe.each(Object.entries(HELD))('lanes that wait for %s', (_what, held) => {
  it('cost a claimer a few requests a second', { timeout: 20_000 }, async () => {
    const { failing, publish, hold, claim: claimAll } = await startHeld(held)
    await failing()
    await publish()
    await failing()
    await hold()

    const report = await claimAll()

    expect(report.roundTrips).toBeLessThanOrEqual(most(report))
  })

  it('cost a poller a few requests a second', { timeout: 20_000 }, async () => {
    const { failing, publish, hold, poll: pollAll } = await startHeld(held)
    await failing()
    await hold()
    await publish()

    const report = await pollAll()

    expect(report.roundTrips).toBeLessThanOrEqual(most(report))
  })
})
