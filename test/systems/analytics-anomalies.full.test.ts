import { Redis } from 'ioredis'
import { poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { MinuteOfWeek, Planted } from '../../demo/analytics/week.ts'
import { PLANTED, weekOf } from '../../demo/analytics/week.ts'
import { createRandom } from '../../demo/random.ts'
import type { Alert } from '../../functions/analytics/detector.ts'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
/** What a window waits for, and the window itself. */
const NOTICED_WITHIN_MS = 15 * MINUTE_MS

let server: PrivateRedis
let raw: Redis
let redis: ReturnType<typeof connectIoredis>

beforeAll(async () => {
  server = await startRedisServer()
  raw = new Redis(server.url)
  redis = connectIoredis(server.url)
})

afterAll(async () => {
  await redis.close()
  raw.disconnect()
  await server.stop()
})

beforeEach(() => raw.flushall())

/** What the handlers keep of a week. */
async function keepSums(week: Iterable<MinuteOfWeek>): Promise<void> {
  const { keys, sumField } = await import('../../functions/analytics/windows.ts')
  const pipeline = raw.pipeline()
  for (const { at, views, purchases } of week) {
    const cents = purchases.reduce((sum, one) => sum + one, 0)
    const sums = { views, purchases: purchases.length, cents }
    for (const [measure, value] of Object.entries(sums))
      if (value > 0) pipeline.hset(keys.sums(at), sumField(measure as keyof typeof sums, at), value)
  }
  await pipeline.exec()
}

/** Wakes the detector through the days, and reports which of what was planted was found, and what was not planted. */
async function watch(fromMs: number, everyMs: number) {
  const { createAsk } = await import('../../functions/shared/ask.ts')
  const { detect } = await import('../../functions/analytics/detector.ts')
  const { dashboard } = await import('../../functions/analytics/consumer.ts')
  const ask = createAsk(redis, dashboard)
  const alerts: (Alert & { sentAt: number })[] = []
  const until = fromMs + 7 * DAY_MS + 10 * MINUTE_MS
  for (let now = fromMs; now <= until; now += everyMs)
    await detect(ask, async (alert) => void alerts.push({ ...alert, sentAt: now }), now)
  const isOf = (alert: Alert, { atMs, forMs }: Planted) => {
    const ms = Date.parse(alert.at) - fromMs
    return ms >= atMs && ms < atMs + forMs
  }
  return {
    found: PLANTED.map((one) => alerts.filter((alert) => isOf(alert, one))),
    others: alerts.filter((alert) => !PLANTED.some((one) => isOf(alert, one))),
  }
}

const MONDAY = Date.parse('2026-11-23T00:00:00Z')

/** One alert for each that was planted, and at most one that is false. */
function expectFound({ found, others }: Awaited<ReturnType<typeof watch>>): void {
  expect(found.map((alerts) => alerts.length)).toEqual([1, 1, 1, 1, 1])
  expect(others.length).toBeLessThanOrEqual(1)
}

test.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])(
  'analytics: five anomalies of a week are found, seed %i',
  async (seed) => {
    const fromMs = MONDAY + (seed % 7) * DAY_MS
    await raw.xgroup('CREATE', 'user-actions', 'dashboard', '$', 'MKSTREAM')
    await keepSums(weekOf(createRandom(seed), fromMs, 40))

    expectFound(await watch(fromMs, 30 * MINUTE_MS))
  },
  120_000,
)

test('analytics: a week without anything planted has at most one alert', async () => {
  await raw.xgroup('CREATE', 'user-actions', 'dashboard', '$', 'MKSTREAM')
  await keepSums(weekOf(createRandom(11), MONDAY, 40, []))

  expect((await watch(MONDAY, 30 * MINUTE_MS)).others.length).toBeLessThanOrEqual(1)
}, 120_000)

// not registered where it does not run: nothing is skipped in silence
if (process.env.MILLRACE_SYSTEMS === 'whole')
  test('analytics: five anomalies are found in a week of events, by the handlers', async () => {
    const { dashboard } = await import('../../functions/analytics/consumer.ts')
    let n = 0
    for (const { at, views, purchases } of weekOf(createRandom(12), MONDAY, 8)) {
      const pipeline = raw.pipeline()
      const who = ['published_at', new Date(at).toISOString(), 'user_id', `u-${n % 500}`, 'session_id', `s-${at}`]
      for (let view = 0; view < views; view++)
        pipeline.xadd(
          'user-actions',
          `${at}-${++n}`,
          'event_type',
          'page_view',
          'event_id',
          `e-${n}`,
          'action',
          'view',
          'page',
          '/',
          ...who,
        )
      for (const cents of purchases)
        pipeline.xadd(
          'user-actions',
          `${at}-${++n}`,
          'event_type',
          'purchase',
          'event_id',
          `e-${n}`,
          'action',
          'buy',
          'amount',
          (cents / 100).toFixed(2),
          'items',
          '["a"]',
          ...who,
        )
      await pipeline.exec()
    }
    const report = await poll(dashboard, { redis, remainingMs: 550_000 })
    expect(report).toMatchObject({ acked: n })

    const result = await watch(MONDAY, 5 * MINUTE_MS)
    expectFound(result)
    for (const [alert] of result.found) expect(alert && alert.sentAt - Date.parse(alert.at)).toBe(NOTICED_WITHIN_MS)
  }, 600_000)
