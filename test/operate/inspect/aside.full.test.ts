import type { Policy } from 'millrace'
import { definePolicy, poll } from 'millrace'
import type { AsideInspection, GroupInspection } from 'millrace/operate'
import { inspectStreams } from 'millrace/operate'
import { expect, test } from 'vitest'
import { consumerKeys } from '../../../src/core/keys.ts'
import { millrace } from '../../cli/millrace.ts'
import { passOnDue } from '../../support/due.ts'
import { billing, type Scenario, startScenario } from '../../support/scenario.ts'
import { watchCommands } from '../../support/watch-commands.ts'

const DUE = '{orders}:billing:due'
const { waiting: WAITING } = consumerKeys('orders', 'billing')

/** Parks what names a supplier until that is open; `fails` fails. */
function closed(): Policy {
  return definePolicy({
    name: 'closed',
    begin: () => ({
      admit: (jobs) =>
        jobs.map(({ event }) => {
          const { orderId } = (event as { payload: { orderId: string } }).payload
          const [, supplier] = orderId.split('@')
          return supplier === undefined ? undefined : { action: 'park', until: supplier }
        }),
      isOver: () => false,
    }),
  })
}

/** Sets these orders aside: `x@name` waits for a condition, any other fails and waits for its time. */
async function setAside(scenario: Scenario, ...orders: string[]): Promise<string[]> {
  const ids = await scenario.publish(...orders)
  const consumer = billing(() => Promise.reject(new Error('down')), { use: [closed()], backoff: { firstMs: 60_000 } })
  await poll(consumer, { redis: scenario.redis })
  return ids
}

async function inspected({ redis }: Pick<Scenario, 'redis'>): Promise<GroupInspection> {
  const { streams } = await inspectStreams({ redis, streams: ['orders'] })
  return streams[0]?.groups[0] as GroupInspection
}

async function asideOf(scenario: Pick<Scenario, 'redis'>): Promise<AsideInspection | undefined> {
  return (await inspected(scenario)).aside
}

test('inspectStreams() splits what is pending, and says when what is set aside comes back', async () => {
  const scenario = await startScenario()
  const [first] = await setAside(scenario, 'a@north', 'fails', 'b@south', 'c@north', 'fails')
  await scenario.publish('held')
  await scenario.raw.xreadgroup('GROUP', 'billing', 'poller-0', 'STREAMS', 'orders', '>')

  const { pending, inHand, parked, aside } = await inspected(scenario)

  expect({ pending, inHand, parked }).toEqual({ pending: 6, inHand: 1, parked: 5 })
  expect(aside).toEqual({
    byTime: {
      entries: 2,
      due: 0,
      handedBack: 0,
      nextDueInMs: expect.any(Number),
      sample: { sampled: 2, atNoDelivery: 0 },
      running: 0,
    },
    byCondition: {
      entries: 3,
      conditions: [
        { reason: 'closed', what: 'north', entries: 2, oldestId: first, oldestAgeMs: expect.any(Number) },
        { reason: 'closed', what: 'south', entries: 1, oldestId: expect.any(String), oldestAgeMs: expect.any(Number) },
      ],
    },
  })
  expect(aside?.byTime?.nextDueInMs).toSatisfy((ms: number) => ms > 0 && ms <= 60_000)
})

test('inspectStreams() says what is due, and since when, and what was taken', async () => {
  const scenario = await startScenario()
  const [, taken = ''] = await setAside(scenario, 'fails', 'fails', 'fails')
  await passOnDue(scenario.raw, 600_000)
  await scenario.raw.zadd(DUE, 9e15 + 1, taken)

  const aside = await asideOf(scenario)

  expect(aside?.byTime).toMatchObject({ entries: 2, due: 2, nextDueInMs: expect.any(Number), running: 1 })
  expect(aside?.byTime?.nextDueInMs).toSatisfy((ms: number) => ms > -600_001 && ms <= -540_000)
})

test('inspectStreams() finds a hundred conditions, however many entries wait for each, and no more', async () => {
  const scenario = await startScenario()
  await setAside(scenario, 'a@north')
  const members = Array.from({ length: 120 }, (_, n) => `closed s${String(n).padStart(3, '0')}`).flatMap(
    (condition, n) =>
      Array.from({ length: n === 7 ? 1_500 : 2 }, (_, seq) => `${condition}\nA1${seq > 9 ? 'D' : 'A'}${seq}:0`),
  )
  await scenario.raw.del(WAITING)
  await scenario.raw.zadd(WAITING, ...members.flatMap((member) => [0, member]))

  const { entries, conditions } = (await asideOf(scenario))?.byCondition ?? {}

  expect(entries).toBe(1_738)
  expect(conditions?.map(({ what }) => what)).toEqual(
    Array.from({ length: 100 }, (_, n) => `s${String(n).padStart(3, '0')}`),
  )
  expect(conditions?.[7]).toMatchObject({ entries: 1_500, oldestId: '1-0' })
})

test('inspectStreams() passes what somebody else wrote into an index, and says which one it cannot read', async () => {
  const scenario = await startScenario()
  await setAside(scenario, 'a@north', 'fails')
  await scenario.raw.zadd(WAITING, 0, 'aaa', 0, '\u0001', 0, 'zzz\nnothing')
  const strange = await asideOf(scenario)
  await scenario.raw.set(DUE, 'text')
  const refused = await inspected(scenario)

  expect(strange?.byCondition?.conditions.map(({ what }) => what)).toEqual(['north'])
  expect(refused.aside).toMatchObject({ byTime: undefined, byCondition: { entries: 4 } })
  expect(refused.unknown).toEqual({ byTime: expect.stringMatching(/^WRONGTYPE /) })
})

test('inspectStreams() only reads', async () => {
  const scenario = await startScenario()
  await setAside(scenario, 'a@north', 'b@south', 'fails')
  const watch = await watchCommands(scenario.server.url)
  await inspected(scenario)
  const seen = (await watch.seen()).map(([name = '']) => name)
  const names = new Set(seen.filter((name) => /^(z|eval)/.test(name)))

  expect(names).toEqual(new Set(['zcard', 'zcount', 'zlexcount', 'zrangebylex', 'zrangebyscore']))
})

test('millrace status --details shows what is set aside, the fullest condition first', async () => {
  const scenario = await startScenario()
  await setAside(scenario, 'a@north', 'fails', 'b@so\u001buth', 'c@so\u001buth')
  const run = millrace(['status', '--details', '--redis', scenario.server.url], { env: { PATH: process.env.PATH } })
  expect(await run.exit).toBe(0)

  const lines = run.lines.map((line) => line.replace(/\d+s|<1s/g, 'AGE').trim())
  const at = lines.findIndex((line) => line.startsWith('for a time'))
  expect(lines.slice(at, at + 5)).toEqual([
    'for a time  1, 0 due now, the next in AGE',
    'retry  1',
    'for a condition  3',
    expect.stringMatching(/^closed so.*uth {2}2, the oldest published AGE ago$/),
    'closed north  1, the oldest published AGE ago',
  ])
  expect(run.lines.join('')).not.toContain('\u001b')
})
