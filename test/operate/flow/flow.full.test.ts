import { circuitBreaker, concurrencyLimit, defineConsumer, defineEvent, on, poll, rateLimit } from 'millrace'
import { diagnose, type FlowInspection, inspectStreams } from 'millrace/operate'
import { describe, expect, test } from 'vitest'
import { flowOf } from '../../../dist/operate/flow/consumer-limits.js'
import { msBetweenTurns } from '../../../dist/operate/flow/limit-state.js'
import { statusLines } from '../../../src/cli/status-lines.ts'
import { createAclUsers, urlOf } from '../../infra/acl-users.ts'
import { billing, names, OrderPaid, type Scenario, startScenario } from '../../support/scenario.ts'

const BREAKERS = '{orders}:billing:breakers'
const DUE = '{orders}:billing:due'
const MINUTE = 60_000
const broken = { use: [circuitBreaker({ failures: 2, perMs: MINUTE, probeAfterMs: MINUTE })], concurrency: 1 }
const slow = billing(() => {}, { use: [rateLimit({ max: 1, perMs: 10 * MINUTE })] })
const narrow = billing(() => {}, { use: [concurrencyLimit({ max: 2 })] })
const Shipped = defineEvent('Shipped', { version: 1, payload: OrderPaid.payload })

const fails = () => {
  throw new TypeError('down')
}

/** A group whose circuit breaker is open, with one entry that waits for it beside those that failed. */
async function open(): Promise<Scenario> {
  const scenario = await startScenario()
  await scenario.publish('a', 'b', 'c')
  await poll(billing(fails, broken), { redis: scenario.redis })
  return scenario
}

/** A group with a limit of which one turn is taken. */
async function limited(consumer = slow): Promise<Scenario> {
  const scenario = await startScenario()
  await scenario.publish(...names('o', 4))
  await poll(consumer, { redis: scenario.redis, remainingMs: 13_000, mode: 'once' })
  return scenario
}

async function flowIn({ redis }: Scenario, consumer = slow): Promise<FlowInspection | undefined> {
  const { streams } = await inspectStreams({ redis, consumers: [consumer] })
  return streams[0]?.groups[0]?.flow
}

async function shown({ redis }: Scenario, consumer = slow): Promise<string> {
  return statusLines(await inspectStreams({ redis, consumers: [consumer] }), { details: true }).join('\n')
}

async function found({ redis }: Scenario, check: string, consumer = slow): Promise<string[]> {
  const findings = await diagnose(consumer, { redis })
  return findings.filter((one) => one.check === check).map(({ severity, message }) => `${severity}: ${message}`)
}

async function now({ raw }: Scenario): Promise<number> {
  const [seconds] = await raw.time()
  return Number(seconds) * 1_000
}

describe('flowOf()', () => {
  test('names the keys that runs use', async () => {
    const { redis, raw, publish } = await startScenario()
    let used: string[] = []
    const look = async () => {
      used = await raw.keys('{orders}:billing:*')
    }
    const rate = () => rateLimit({ max: 1_000, perMs: 1_000 })
    const consumer = defineConsumer({
      stream: 'orders',
      group: 'billing',
      routes: [on(OrderPaid, look, { use: [rate(), rate()] }), on(Shipped, () => {}, { use: [rate()] })],
      use: [rateLimit({ max: 2_000, perMs: 60_000 }), concurrencyLimit({ max: 3 })],
    })
    await publish('a')
    await poll(consumer, { redis })
    const { limits } = flowOf(consumer)

    expect(limits.map(({ policy, max, perMs }) => [policy, max, perMs])).toEqual(
      expect.arrayContaining([
        ['concurrencyLimit', 3, undefined],
        ['rateLimit', 2_000, 60_000],
      ]),
    )
    expect(limits).toHaveLength(5)
    expect(used.filter((key) => /:(rate|places):/.test(key)).toSorted()).toEqual(
      limits.flatMap(({ key, eventType }) => (eventType === 'Shipped' ? [] : (key ?? []))).toSorted(),
    )
  })

  test('knows limits of names, circuit breakers, and no policy of others', () => {
    const by = rateLimit({ max: 5, perMs: 1_000, by: ({ tenantId }) => (tenantId as string).trim() })
    const { limits, probeAfterMs } = flowOf(billing(() => {}, { use: [by, ...broken.use] }))

    expect(limits).toEqual([{ policy: 'rateLimit', max: 5, perMs: 1_000 }])
    expect(probeAfterMs).toEqual({ '': MINUTE })
    expect(flowOf(billing(() => {}))).toEqual({ limits: [], probeAfterMs: {} })
  })
})

test.each([
  [4, 10_000],
  [3, 100_000],
  [50, 5_000],
])('msBetweenTurns() is what the server keeps between %i turns per %i ms', async (max, perMs) => {
  const { redis, raw, publish } = await startScenario()
  await publish('a')
  await poll(
    billing(() => {}, { use: [rateLimit({ max, perMs })] }),
    { redis, mode: 'once' },
  )
  const { free, used } = (await raw.hgetall('{orders}:billing:rate:*')) as Record<'free' | 'used', string>

  expect(Number(free) - Number(used)).toBeCloseTo(msBetweenTurns(max, perMs), 0)
})

describe('inspectStreams()', () => {
  test('shows circuit breakers that are open, also to who names no consumer', async () => {
    const scenario = await open()
    const { streams } = await inspectStreams({ redis: scenario.redis, streams: ['orders'] })
    const [breaker] = streams[0]?.groups[0]?.flow?.breakers ?? []

    expect(breaker).toEqual({
      eventType: 'OrderPaid',
      openMs: expect.any(Number),
      nextProbeInMs: expect.any(Number),
      error: 'TypeError',
      waiting: 2,
    })
    expect(breaker?.nextProbeInMs).toSatisfy((ms: number) => ms > 30_000 && ms <= MINUTE)
  })

  test('shows who probes one, while its lease lasts', async () => {
    const scenario = await open()
    const at = await now(scenario)
    await scenario.raw.hset(BREAKERS, 'probe OrderPaid', '5-1', 'held OrderPaid', at + 30_000, 'last OrderPaid', '4-1')
    const probed = (await flowIn(scenario))?.breakers?.[0]
    await scenario.raw.hset(BREAKERS, 'held OrderPaid', at - 1)
    const left = (await flowIn(scenario))?.breakers?.[0]

    expect(probed).toMatchObject({ probe: { entryId: '5-1' }, lastProbeId: '4-1' })
    expect(left?.probe).toBeUndefined()
  })

  test('shows the next turn of a rate limit, and who waits for turns', async () => {
    const scenario = await limited()
    const { limits } = (await flowIn(scenario)) as FlowInspection
    const { streams } = await inspectStreams({ redis: scenario.redis, streams: ['orders'] })

    expect(limits).toMatchObject([{ policy: 'rateLimit', max: 1, perMs: 10 * MINUTE, waiting: 3 }])
    expect(limits[0]?.nextTurnInMs).toSatisfy((ms: number) => ms > 9 * MINUTE && ms < 11 * MINUTE)
    expect(limits[0]?.lineMs).toSatisfy((ms: number) => ms > 28 * MINUTE && ms < 32 * MINUTE)
    expect(streams[0]?.groups[0]?.aside?.byTime).toMatchObject({
      entries: 3,
      handedBack: 0,
      sample: { sampled: 3, atNoDelivery: 3, oldestAgeMs: expect.any(Number) },
    })
    expect(streams[0]?.groups[0]?.flow).toEqual({ breakers: [], limits: [] })
  })

  test('shows places that are held, not those of the dead', async () => {
    const scenario = await limited(narrow)
    const at = await now(scenario)
    await scenario.raw.hset(
      '{orders}:billing:places:*',
      '@a',
      at + MINUTE,
      '@b',
      at - MINUTE,
      'avg',
      500,
      'line',
      at + 30_000,
    )
    const { limits } = (await flowIn(scenario, narrow)) as FlowInspection

    expect(limits).toMatchObject([{ policy: 'concurrencyLimit', max: 2, held: 1, meanHoldMs: 500 }])
    expect(limits[0]?.waiting).toSatisfy((count: number) => count > 100 && count <= 120)
  })

  test('shows what was handed back apart from what waits, and gives it no time', async () => {
    const scenario = await limited()
    const [, ...ids] = await scenario.raw.zrange(DUE, '0', '-1')
    await scenario.raw.zrem(DUE, ...ids)
    const [[handedBack]] = (await scenario.raw.xpending('orders', 'billing', '-', '+', 1)) as [[string]]
    await scenario.raw.zadd(DUE, 0, handedBack)
    const { streams } = await inspectStreams({ redis: scenario.redis, streams: ['orders'] })
    const fresh = await found(scenario, 'claiming')
    await scenario.raw.xclaim('orders', 'billing', 'parked', 0, handedBack, 'IDLE', 10 * MINUTE, 'JUSTID')

    expect(streams[0]?.groups[0]?.aside?.byTime).toEqual({ entries: 1, due: 1, handedBack: 1, running: 0 })
    expect(fresh).toEqual([])
    expect(await found(scenario, 'claiming')).toEqual([expect.stringMatching(/^error: Nobody claims/)])
  })

  test('says why it cannot show them', async () => {
    const scenario = await limited()
    await scenario.raw.set(BREAKERS, 'text')
    await scenario.raw.set('{orders}:billing:rate:*', 'text')
    const { streams } = await inspectStreams({ redis: scenario.redis, consumers: [slow] })

    expect(streams[0]?.groups[0]).toMatchObject({
      flow: { limits: [] },
      unknown: { breakers: expect.stringMatching(/^WRONGTYPE/), limits: expect.stringMatching(/^WRONGTYPE/) },
    })
  })

  test('says which keys its user has no right to, and shows the other group', async () => {
    const scenario = await limited()
    const other = defineConsumer({ stream: 'orders', group: 'mails', routes: [on(OrderPaid, () => {})] })
    await poll(other, { redis: scenario.redis, remainingMs: 13_000, mode: 'once' })
    await scenario.raw.call('ACL', 'SETUSER', 'mailer', 'on', '>p', '~orders', '~{orders}:mails:*', '+@all')
    const redis = scenario.connect(`redis://mailer:p@${scenario.server.host}:${scenario.server.port}`)
    const { streams } = await inspectStreams({ redis, consumers: [slow, other] })

    expect(streams[0]?.groups).toMatchObject([
      {
        group: 'billing',
        unknown: { breakers: expect.stringMatching(/^NOPERM/), limits: expect.stringMatching(/^NOPERM/) },
      },
      { group: 'mails', flow: { breakers: [] } },
    ])
  })

  test('shows all of it under the rights of the console', async () => {
    const scenario = await limited()
    await createAclUsers(scenario.raw)
    await scenario.raw.hset(BREAKERS, 'until OrderPaid', 1)
    const redis = scenario.connect(urlOf(scenario.server, 'orders-console'))
    const { streams } = await inspectStreams({ redis, consumers: [slow] })

    expect(streams[0]?.groups[0]).toMatchObject({ flow: { breakers: [{}], limits: [{}] }, unknown: {} })
  })
})

describe('millrace status', () => {
  test('says which circuit breakers are open', async () => {
    expect(await shown(await open(), billing(fails, broken))).toMatch(
      /! billing: circuit breaker of OrderPaid open for \S+, the next probe in \d+s, 2 wait for it, last error TypeError/,
    )
  })

  test('splits what waits by its reason, and shows lines of limits', async () => {
    const text = await shown(await limited())

    expect(text).toMatch(/^ +turn or place {2}3, the oldest published \S+ ago$/m)
    expect(text).toMatch(
      /^ +rateLimit, 1 per 10m {2}the next free turn in \d+m.*, about 3 wait in line, the last for \d+m/m,
    )
    expect(text).toMatch(/^ +! billing: rateLimit, 1 per 10m: about 3 wait in line/m)
  })
})

describe('diagnose()', () => {
  test('a circuit breaker that is open for a while is worth knowing', async () => {
    expect(await found(await open(), 'circuit-breaker', billing(fails, broken))).toEqual([
      expect.stringMatching(
        /^info: The circuit breaker of "OrderPaid" has been open for .*; the last error was "TypeError"$/,
      ),
    ])
  })

  test('one that no probe closes is a warning', async () => {
    const scenario = await open()
    await scenario.raw.hset(BREAKERS, 'opened OrderPaid', (await now(scenario)) - 61 * MINUTE)

    expect(await found(scenario, 'circuit-breaker', billing(fails, broken))).toEqual([
      expect.stringMatching(/^warning: .*open for 1 h.*: no probe has succeeded$/),
    ])
  })

  test('one that nobody probes is an error', async () => {
    const scenario = await open()
    const at = await now(scenario)
    await scenario.raw.hset(BREAKERS, 'until OrderPaid', at - 6 * MINUTE)
    const unprobed = await found(scenario, 'circuit-breaker', billing(fails, broken))
    await scenario.raw.hset(BREAKERS, 'probe OrderPaid', '5-1', 'held OrderPaid', at + MINUTE)

    expect(unprobed).toEqual([expect.stringMatching(/^error: .*Nobody probes it: a probe has been due for 6 min$/)])
    expect(await found(scenario, 'circuit-breaker', billing(fails, broken))).toEqual([expect.stringMatching(/^info: /)])
  })

  test('one whose policy is gone is a warning', async () => {
    expect(await found(await open(), 'circuit-breaker', billing(fails))).toEqual([
      expect.stringMatching(/^warning: .*this consumer has no circuitBreaker for it/),
    ])
  })

  test('sees them as the console, and asks a poller without policies for nothing', async () => {
    const scenario = await open()
    await createAclUsers(scenario.raw)
    const as = async (user: string) =>
      (await diagnose(billing(fails, broken), { redis: scenario.connect(urlOf(scenario.server, user)) })).filter(
        ({ check }) => check === 'circuit-breaker',
      )

    expect(await as('orders-console')).toMatchObject([{ severity: 'info' }])
    expect(await as('orders-poller')).toEqual([])
  })

  test('a line of turns that is long is a warning', async () => {
    const scenario = await limited()

    expect(await found(scenario, 'rate-limit')).toEqual([
      expect.stringMatching(
        /^warning: rateLimit, 1 per 10 min: about 3 entries wait in line, the last for \d+ min from now$/,
      ),
    ])
    await scenario.raw.del('{orders}:billing:rate:*')
    expect(await found(scenario, 'rate-limit')).toEqual([])
  })

  test('a rate below what arrives is a warning', async () => {
    const scenario = await startScenario()
    for (let n = 0; n < 101; n++) await scenario.raw.xadd('orders', `${1_000_000 + n * 100}-0`, 'a', 'b')
    const limit = (max: number) => billing(() => {}, { use: [rateLimit({ max, perMs: 1_000 })] })

    expect(await found(scenario, 'rate-limit', limit(9))).toEqual([
      'warning: rateLimit, 9 per 1 s, starts 8.74 a second, and 10 a second arrived while the stream filled',
    ])
    expect(await found(scenario, 'rate-limit', limit(11))).toEqual([])
  })

  test('places that are all held while the line is long are a warning', async () => {
    const scenario = await limited(narrow)
    const at = await now(scenario)
    await scenario.raw.hset('{orders}:billing:places:*', '@a', at + MINUTE, '@b', at + MINUTE, 'line', at + 3 * MINUTE)

    expect(await found(scenario, 'starved', narrow)).toEqual([
      expect.stringMatching(
        /^warning: concurrencyLimit: all of 2 places are held.*, the last for 3 min from now, or longer$/,
      ),
    ])
    await scenario.raw.hdel('{orders}:billing:places:*', '@b')
    expect(await found(scenario, 'starved', narrow)).toEqual([])
  })

  test('entries that have waited long for a turn or a place are a warning', async () => {
    const scenario = await limited()
    const fresh = await found(scenario, 'starved')
    const at = await now(scenario)
    await scenario.raw.zadd(DUE, (at + MINUTE) * 1_024, `${at - 20 * MINUTE}-0`)

    expect(fresh).toEqual([])
    expect(await found(scenario, 'starved')).toEqual([
      'warning: 4 entries wait at no delivery, for a turn or a place, the oldest published 20 min ago',
    ])
    expect(
      await found(
        scenario,
        'starved',
        billing(() => {}),
      ),
    ).toEqual([])
  })
})
