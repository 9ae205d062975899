import type { Redis } from 'ioredis'
import { expect, test, vi } from 'vitest'
import { computeOffline } from '../../demo/analytics/offline.ts'
import type { Sent } from '../../demo/analytics/traffic.ts'
import { trafficOf } from '../../demo/analytics/traffic.ts'
import { createRandom } from '../../demo/random.ts'
import { startSystem } from './kit/start-system.ts'

const DASHBOARD = { stream: 'user-actions', group: 'dashboard' }
const FUNCTIONS = ['functions/analytics/poller.ts', 'functions/analytics/claimer.ts']
const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const STANDARD_ERROR = 0.0081

/** `npm run test:systems` has all of them. */
const EVENTS = process.env.MILLRACE_SYSTEMS === 'whole' ? 100_000 : 20_000

/** Puts entries into the stream as if they had been added then. */
async function sendAll(raw: Redis, sent: readonly Sent[]): Promise<void> {
  const inOrder = sent.toSorted((a, b) => a.sentAt - b.sentAt)
  for (let at = 0; at < inOrder.length; at += 5_000) {
    const pipeline = raw.pipeline()
    for (const [n, { sentAt, fields }] of inOrder.slice(at, at + 5_000).entries())
      pipeline.xadd(DASHBOARD.stream, `${sentAt}-${at + n}`, ...Object.entries(fields).flat())
    await pipeline.exec()
  }
}

async function readFrom(url: string, query: Record<string, string>) {
  vi.stubEnv('REDIS_URL', url)
  const { handler } = await import('../../functions/analytics/read.ts')
  const { statusCode, body } = await handler({ queryStringParameters: query })
  const { redis } = await import('../../functions/shared/redis.ts')
  await redis.close()
  vi.unstubAllEnvs()
  expect(statusCode).toBe(200)
  return JSON.parse(body)
}

test(`analytics: ${EVENTS} events, sent twice, late and through kills, are counted as offline`, {
  timeout: 300_000,
}, async () => {
  const system = await startSystem(FUNCTIONS, [DASHBOARD])
  const toMs = Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS
  const fromMs = toMs - 20 * HOUR_MS
  const sent = [...trafficOf(createRandom(1), { events: EVENTS, fromMs, toMs: toMs - 2 * HOUR_MS })]
  await sendAll(system.raw, sent)

  await system.start()
  await system.killTimes(5, createRandom(2))
  await system.drained()

  const query = { top: '20', sliding: '15' }
  const range = { from: new Date(fromMs).toISOString(), to: new Date(toMs).toISOString() }
  const shown = await readFrom(system.server.url, { ...query, ...range })
  const { users, usersByHour, ...wanted } = computeOffline(sent, { fromMs, toMs, top: 20, sliding: 15 })
  const { active, hours, ...others } = shown
  expect({ ...others, hours: hours.map((hour: object) => ({ ...hour, active: undefined })) }).toEqual({
    ...wanted,
    hours: wanted.hours.map((hour) => ({ ...hour, active: undefined })),
    anomalies: [],
  })
  const errors = [
    [active.users, users],
    ...hours.map((hour: { active: number }, n: number) => [hour.active, usersByHour[n]]),
  ].map(([estimate, exact]) => (exact ? estimate / exact - 1 : estimate))
  expect(Math.max(...errors.map(Math.abs))).toBeLessThan(4 * STANDARD_ERROR)
  expect(active.standardError).toBe(STANDARD_ERROR)
  expect(await system.deadLetters(DASHBOARD)).toEqual([])
})
