import type { Consumer, ConsumerOptions, EventHandler } from 'millrace'
import { circuitBreaker, createPublisher, orderedBy, poll } from 'millrace'
import { diagnose, type Finding, pause } from 'millrace/operate'
import { describe, expect, test } from 'vitest'
import { claimOnce } from '../../support/claim-once.ts'
import { billing, OrderPaid, type Scenario, startScenario } from '../../support/scenario.ts'
import { watchCommands } from '../../support/watch-commands.ts'

const order = orderedBy(({ aggregateId }) => aggregateId)
const fails = () => Promise.reject(new Error('mail is down'))
const later = { firstMs: 60_000 }
const SLOT = '{orders}:billing:slot:poller-0'
const HOUR_MS = 3_600_000

function ordered(handler: EventHandler<never>, options: Partial<ConsumerOptions> = {}): Consumer {
  return billing(handler, { use: [order], mode: 'once', backoff: later, ...options })
}

async function publish({ redis }: Scenario, ...keys: string[]): Promise<void> {
  const events = keys.map((aggregateId) => [OrderPaid, { orderId: aggregateId }, { aggregateId }] as const)
  await createPublisher({ stream: 'orders', redis }).publishMany(events)
}

/** An entry for each key, published so long ago. */
async function add({ raw }: Scenario, agoMs: number, ...keys: string[]): Promise<void> {
  const at = Date.now() - agoMs
  const payload = JSON.stringify({ orderId: 'o' })
  for (const [n, key] of keys.entries())
    await raw.xadd('orders', `${at}-${n}`, 'eventType', 'OrderPaid', 'aggregateId', key, 'payload', payload)
}

async function found(
  check: string,
  { redis }: Pick<Scenario, 'redis'>,
  consumer: Consumer | undefined,
  options: { pollers?: number } = {},
): Promise<string[]> {
  const all = await diagnose(consumer ? [consumer] : [], {
    redis,
    ...(!consumer && { streams: ['orders'] }),
    ...options,
  })
  return all.filter((finding) => finding.check === check).map(asLine)
}

const asLine = ({ severity, message, fix }: Finding) =>
  `${severity}: ${message} → ${fix}`.replaceAll(/\d{13}-\d+/g, 'ID').replaceAll(/due in \d+ \w+/g, 'due in SOON')

describe('ordered-key', () => {
  test('warns of a key that has stood for a day, and says what to do', async () => {
    const scenario = await startScenario()
    await add(scenario, 50 * HOUR_MS, 'a', 'a', 'b', 'a', 'b')
    await publish(scenario, 'c', 'c')
    await poll(ordered(fails), { redis: scenario.redis })

    const expected = [
      'warning: Key "a" stands: 2 entries wait, the oldest published 2 d ago, behind ID of type "OrderPaid" at delivery 1, due in SOON; the last error was "Error: mail is down"; so do "b" → ' +
        'fix what it fails with; once its deliveries are used up it is a dead letter, and its key goes on',
    ]
    expect(await found('ordered-key', scenario, ordered(fails))).toEqual(expected)
    expect(await found('ordered-key', scenario, undefined)).toEqual(expected)
  })

  test('says nothing of a shorter wait, of a first entry alone, or without order', async () => {
    const scenario = await startScenario()
    await add(scenario, 50 * HOUR_MS, 'alone')
    await add(scenario, 23 * HOUR_MS, 'a', 'a')
    await poll(ordered(fails), { redis: scenario.redis })

    expect(await found('ordered-key', scenario, ordered(fails))).toEqual([])
    const watch = await watchCommands(scenario.server.url)
    expect(await found('ordered-key', scenario, ordered(fails, { use: [] }))).toEqual([])
    expect((await watch.sent()).filter(([name = '']) => /^h(len|mget|scan)/.test(name))).toEqual([])
  })

  test('says how a pause of its type ends', async () => {
    const scenario = await startScenario()
    const { redis } = scenario
    await add(scenario, 50 * HOUR_MS, 'a', 'a')
    await poll(ordered(fails), { redis })
    await pause(ordered(fails), { redis, type: 'OrderPaid' })

    expect(await found('ordered-key', scenario, ordered(fails))).toEqual([
      expect.stringMatching(
        /, which is paused; the last error was "Error: mail is down" → millrace resume orders billing, with --type OrderPaid where only/,
      ),
    ])
  })

  test('names the circuit breaker, and the error that opened it', async () => {
    const scenario = await startScenario()
    const breaker = circuitBreaker({ failures: 1, perMs: 60_000, probeAfterMs: 60_000 })
    const consumer = ordered(fails, { use: [breaker, order] })
    await add(scenario, 50 * HOUR_MS, 'a', 'a')
    await poll(consumer, { redis: scenario.redis })

    expect(await found('ordered-key', scenario, consumer)).toEqual([
      expect.stringMatching(
        /, which waits for "circuitBreaker OrderPaid"; the last error was "Error: mail is down" → fix what its handler calls/,
      ),
    ])
  })

  test('asks for the claimer where the process of the first died', async () => {
    const scenario = await startScenario()
    const { redis, raw } = scenario
    await add(scenario, 50 * HOUR_MS, 'a', 'a')
    await raw.xgroup('CREATE', 'orders', 'billing', '0')
    await raw.xreadgroup('GROUP', 'billing', 'poller-0', 'COUNT', 1, 'STREAMS', 'orders', '>')
    await poll(
      ordered(() => {}),
      { redis },
    )

    expect(await found('ordered-key', scenario, ordered(fails))).toEqual([
      expect.stringMatching(/, whose process died → see that poller and claimer are scheduled/),
    ])
  })
})

describe('ordered-slot', () => {
  async function withHeldSlot(agoMs: number): Promise<Scenario> {
    const scenario = await startScenario()
    await add(scenario, agoMs, 'a')
    await scenario.raw.xgroup('CREATE', 'orders', 'billing', '0')
    await scenario.raw.set(SLOT, 'token', 'PX', 600_000)
    return scenario
  }

  test('warns where one run holds the slot and does not read', async () => {
    const scenario = await withHeldSlot(HOUR_MS)

    expect(await found('ordered-slot', scenario, ordered(fails))).toEqual([
      expect.stringMatching(
        /^warning: One run holds the only slot, and it has never read: no other poller gets its turn, though what was published (1 h|60 min) ago waits → .*its lease ends in (10 min|9 min)/,
      ),
    ])
    expect(await found('polling', scenario, ordered(fails))).toEqual([])
  })

  test('says nothing of a free slot, a run that reads, or a paused group', async () => {
    const free = await withHeldSlot(HOUR_MS)
    await free.raw.del(SLOT)
    const reading = await withHeldSlot(HOUR_MS)
    await add(reading, 10, 'a')
    await reading.raw.xreadgroup('GROUP', 'billing', 'poller-0', 'COUNT', 1, 'STREAMS', 'orders', '>')
    const paused = await withHeldSlot(HOUR_MS)
    await pause(ordered(fails), { redis: paused.redis })
    const fresh = await withHeldSlot(1_000)

    for (const one of [free, reading, paused, fresh])
      expect(await found('ordered-slot', one, ordered(fails))).toEqual([])
  })

  test('says nothing of a consumer without order', async () => {
    const scenario = await withHeldSlot(HOUR_MS)

    expect(await found('ordered-slot', scenario, ordered(fails, { use: [] }))).toEqual([])
  })
})

describe('ordered-held', () => {
  const WITHOUT = /^error: 2 entries are held by a run that keeps no order, as "(poller-1|claimer-0)": nothing is read/

  test('is an error where a poller without order holds entries', async () => {
    const scenario = await startScenario()
    await publish(scenario, 'a', 'a')
    await scenario.raw.xgroup('CREATE', 'orders', 'billing', '0')
    await scenario.raw.xreadgroup('GROUP', 'billing', 'poller-1', 'COUNT', 2, 'STREAMS', 'orders', '>')

    expect(await found('ordered-held', scenario, ordered(fails))).toEqual([expect.stringMatching(WITHOUT)])
    await expect(poll(ordered(fails), { redis: scenario.redis })).rejects.toThrow('held by a run that keeps no order')
  })

  test('is an error where a claimer without order holds entries, as long as it lives', async () => {
    const scenario = await startScenario()
    const { raw, redis } = scenario
    await publish(scenario, 'a', 'a')
    await raw.xgroup('CREATE', 'orders', 'billing', '0')
    await raw.xreadgroup('GROUP', 'billing', 'claimer-0', 'COUNT', 2, 'STREAMS', 'orders', '>')
    await raw.set('{orders}:billing:slot:claimer-0', 'token', 'PX', 60_000)
    const living = await found('ordered-held', scenario, ordered(fails))
    await raw.del('{orders}:billing:slot:claimer-0')

    expect(living).toEqual([expect.stringMatching(WITHOUT)])
    expect(await found('ordered-held', scenario, ordered(fails))).toEqual([])
    expect(
      await poll(
        ordered(() => {}),
        { redis },
      ),
    ).toMatchObject({ read: 0 })
  })

  test('says nothing of what an ordered claimer or poller has in hand', async () => {
    const scenario = await startScenario()
    const { redis, raw } = scenario
    await publish(scenario, 'a', 'a')
    await poll(ordered(fails, { backoff: { firstMs: 0 } }), { redis })
    let seen: string[] | undefined
    await claimOnce(
      ordered(async () => {
        seen = await found('ordered-held', scenario, ordered(fails))
      }),
      { redis },
    )
    await publish(scenario, 'b')
    await raw.xreadgroup('GROUP', 'billing', 'poller-0', 'COUNT', 1, 'STREAMS', 'orders', '>')

    expect([seen, await found('ordered-held', scenario, ordered(fails))]).toEqual([[], []])
  })
})

describe('ordered-parked', () => {
  test('warns before lanes fill maxParked, and names the fullest key', async () => {
    const scenario = await startScenario()
    await publish(scenario, 'b', 'b', ...Array.from({ length: 7 }, () => 'a'))
    await poll(ordered(fails), { redis: scenario.redis })

    expect(await found('ordered-parked', scenario, ordered(fails, { maxParked: 10 }))).toEqual([
      'warning: 7 of 9 entries that are set aside wait behind another of their key, near maxParked, 10: above it nothing new is read, of no key; 6 of them have key "a" → ' +
        'have the first of these keys done (millrace status --details names them), or raise maxParked',
    ])
    expect(await found('ordered-parked', scenario, ordered(fails, { maxParked: 12 }))).toEqual([])
    expect(await found('set-aside', scenario, ordered(fails, { maxParked: 5 }))).toEqual([
      expect.stringContaining(
        'above maxParked, 5: pollers read nothing new; most of them, 7, wait behind another of their key',
      ),
    ])
  })

  test('says nothing where most wait for their time', async () => {
    const scenario = await startScenario()
    await publish(scenario, ...Array.from({ length: 9 }, (_, n) => `k${n}`), 'k0')
    await poll(ordered(fails), { redis: scenario.redis })

    expect(await found('ordered-parked', scenario, ordered(fails, { maxParked: 10 }))).toEqual([])
  })
})

describe('slots of a stream in order', () => {
  test('of two schedules one is enough', async () => {
    const scenario = await startScenario()
    await publish(scenario, 'a')
    await poll(
      ordered(() => {}),
      { redis: scenario.redis },
    )

    expect(await found('slots', scenario, ordered(fails), { pollers: 2 })).toEqual([
      'warning: 2 pollers are woken at once, and a stream in order has one at a time: the others do nothing → leave one schedule, and one event that wakes the poller',
    ])
    expect(await found('slots', scenario, ordered(fails), { pollers: 1 })).toEqual([])
  })

  test('a poller beyond the only slot keeps no order; that one may be taken', async () => {
    const scenario = await startScenario()
    await publish(scenario, 'a')
    await poll(
      ordered(() => {}),
      { redis: scenario.redis },
    )
    await scenario.raw.set(SLOT, 'token', 'PX', 60_000)
    expect(await found('slots', scenario, ordered(fails))).toEqual([])
    await scenario.raw.set(SLOT.replace('0', '1'), 'token', 'PX', 60_000)

    expect(await found('slots', scenario, ordered(fails))).toEqual([
      expect.stringMatching(/a poller with a higher maxPollers runs, which keeps no order → deploy the consumer with/),
    ])
  })
})

test('the doctor says which right is missing to see keys, and checks the rest', async () => {
  const scenario = await startScenario()
  const { raw, server } = scenario
  await publish(scenario, ...Array.from({ length: 8 }, () => 'a'))
  await poll(ordered(fails), { redis: scenario.redis })
  await raw.call('ACL', 'SETUSER', 'console', 'on', '>secret', '~*', '+@all', '-hmget')
  const redis = scenario.connect(`redis://console:secret@${server.host}:${server.port}`)

  expect(await found('ordered-key', { redis }, ordered(fails))).toEqual([
    expect.stringMatching(/^unknown: Not told: NOPERM .* → look with a user that has .*\+hmget/),
  ])
  expect(await found('set-aside', { redis }, ordered(fails, { maxParked: 5 }))).toEqual([
    expect.stringContaining('7, wait behind another of their key'),
  ])
})
