import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest'
import { startSchedule } from '../../demo/schedule.ts'
import type { Fate, Merchants, Received } from '../../demo/webhooks/merchants.ts'
import { SECRET, startMerchants } from '../../demo/webhooks/merchants.ts'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'

const DAY_MS = 86_400_000
const OTHERS = ['anna', 'bert', 'cora', 'dora', 'emil']

let server: PrivateRedis
let raw: Redis
let merchants: Merchants
let fateOf: (received: Received) => Fate | Promise<Fate>
let modules: Awaited<ReturnType<typeof load>>

async function load() {
  const [poller, claimer, { redis }, table, { announce }, read] = await Promise.all([
    import('../../functions/webhooks/poller.ts'),
    import('../../functions/webhooks/claimer.ts'),
    import('../../functions/shared/redis.ts'),
    import('../../functions/webhooks/table.ts'),
    import('../../functions/webhooks/publisher.ts'),
    import('../../functions/webhooks/read.ts'),
  ])
  return { poller, claimer, redis, table, announce, read }
}

beforeAll(async () => {
  server = await startRedisServer()
  raw = new Redis(server.url)
  process.env.REDIS_URL = server.url
  process.env.WEBHOOKS_ALLOWED = '127.0.0.1'
  process.env.WEBHOOKS_TIMEOUT_MS = '35000'
  process.env.POWERTOOLS_METRICS_DISABLED = 'true'
  process.env.POWERTOOLS_LOG_LEVEL = 'SILENT'
  modules = await load()
})

afterAll(async () => {
  raw.disconnect()
  await modules.redis.close()
  await server.stop()
})

beforeEach(async () => {
  await raw.flushall()
  fateOf = () => 200
  merchants = await startMerchants((received) => fateOf(received))
  for (const name of ['slow', 'down', 'fast', ...OTHERS])
    await modules.table.saveEndpoint(name, merchants.urlOf(name), SECRET)
  return () => merchants.close()
})

/** Wakes the functions for as long as the test runs; as deployed, the next ones begin while the last ones wait for their handlers. */
function start(everyMs: number): { readonly failures: readonly Error[] } {
  const failures: Error[] = []
  const onEnd = (end: unknown) => void (end instanceof Error && failures.push(end))
  const rates = { everyMs, timeoutMs: everyMs + 42_000, onEnd }
  const schedule = startSchedule([
    { functionName: 'webhooksPoller', handler: modules.poller.handler, ...rates },
    { functionName: 'webhooksClaimer', handler: modules.claimer.handler, ...rates },
  ])
  onTestFinished(() => schedule.stop())
  return { failures }
}

const read = async (queryStringParameters = {}) =>
  JSON.parse((await modules.read.handler({ queryStringParameters })).body)
const sentTo = (...names: string[]) => merchants.received.filter(({ merchantId }) => names.includes(merchantId))
const delaysOf = (received: readonly Received[]) =>
  received.map(({ at, data }) => at - Number(data.publishedAt)).sort((a, b) => a - b)

test('a merchant that takes 30 seconds delays others by less than one', { timeout: 200_000 }, async () => {
  const ended = new AbortController()
  let [atOnce, most] = [0, 0]
  fateOf = async ({ merchantId }) => {
    if (merchantId !== 'slow') return 200
    most = Math.max(most, ++atOnce)
    const status = await sleep(30_000, 200, { signal: ended.signal }).catch(() => 410)
    atOnce--
    return status
  }
  for (let n = 0; n < 600; n++) await modules.announce('slow', 'order.paid', { n })
  const { failures } = start(20_000)
  const ticks = 140
  for (let tick = 0; tick < ticks; tick++) {
    for (const name of OTHERS) await modules.announce(name, 'order.paid', { publishedAt: Date.now() })
    await modules.announce('slow', 'order.paid', { tick })
    await sleep(250)
  }
  await expect.poll(() => sentTo(...OTHERS).length, { timeout: 10_000 }).toBe(OTHERS.length * ticks)
  const delays = delaysOf(sentTo(...OTHERS))
  const { pending, unread } = await read()
  const slow = sentTo('slow').length
  ended.abort()
  console.log(
    `${delays.length} events of others: median ${delays[delays.length / 2]} ms, longest ${delays.at(-1)} ms; slow: ${slow} sent, ${most} at once`,
  )

  expect(most).toBe(5)
  expect(delays.at(-1)).toBeLessThan(1_000)
  expect(slow + pending.byMerchant.slow + (unread.byMerchant.slow ?? 0)).toBeGreaterThanOrEqual(600 + ticks)
  expect(failures).toEqual([])
})

test('no merchant gets more than 20 requests in a second, others as many as there are', {
  timeout: 90_000,
}, async () => {
  for (let n = 0; n < 60; n++) await modules.announce('fast', 'order.paid', { n })
  start(20_000)
  await expect.poll(() => sentTo('fast').length, { timeout: 20_000, interval: 50 }).toBe(60)
  const times = sentTo('fast')
    .map(({ at }) => at)
    .sort((a, b) => a - b)
  const inSecond = times.map((from) => times.filter((at) => at >= from && at < from + 1_000).length)

  // turns are kept where requests start; each takes a moment to arrive, the one more than the other
  expect(Math.max(...inSecond)).toBeLessThanOrEqual(25)
})

test('a merchant that is down is left alone, at no delivery, while others hear', {
  timeout: 90_000,
}, async () => {
  fateOf = ({ merchantId }) => (merchantId === 'down' ? 503 : 200)
  for (let n = 0; n < 100; n++) await modules.announce('down', 'order.paid', { n })
  start(10_000)
  await expect.poll(() => raw.zscore('{webhooks}:paused', 'down'), { timeout: 10_000 }).not.toBeNull()
  for (const name of OTHERS) await modules.announce(name, 'order.paid', { publishedAt: Date.now() })
  await expect.poll(() => sentTo(...OTHERS).length, { timeout: 10_000 }).toBe(OTHERS.length)
  await sleep(2_000)
  const rows = (await raw.xpending('webhooks', 'delivery', '-', '+', 200)) as [string, string, number, number][]
  const { paused, pending } = await read()

  // those that were under way when it was the fifth failure
  expect(sentTo('down').length).toBeLessThanOrEqual(5 + 4)
  expect(rows.reduce((sum, [, , , count]) => sum + count, 0)).toBe(sentTo('down').length)
  expect(pending).toEqual({ count: 100, byMerchant: { down: 100 } })
  expect(Object.keys(paused)).toEqual(['down'])
  expect(await read({ merchantId: 'down' })).toMatchObject({
    pausedUntil: paused.down,
    days: expect.arrayContaining([
      expect.objectContaining({ answers: { 503: sentTo('down').length }, latencyMs: { p50: null, p99: null } }),
    ]),
  })
  expect((await read({ merchantId: 'anna' })).days[0]).toMatchObject({ answers: { 200: 1 } })
})

test('the stream keeps three days; what waited for two is a dead letter', {
  timeout: 90_000,
}, async () => {
  const now = Date.now()
  const add = (days: number, n: number) =>
    raw.xadd(
      'webhooks',
      `${now - days * DAY_MS + n}-0`,
      'eventType',
      'WebhookDue',
      'schemaVersion',
      '1',
      'eventId',
      `old-${days}-${n}`,
      'aggregateId',
      'anna',
      'payload',
      JSON.stringify({ merchantId: 'anna', type: 'order.paid', data: {} }),
    )
  for (const days of [4, 3.1, 2.9, 2.1]) for (let n = 0; n < 300; n++) await add(days, n)
  await modules.announce('anna', 'order.paid', { publishedAt: now })
  const left = (await raw.xrange('webhooks', '-', '+')).map(([id]) => now - Number.parseInt(id, 10))
  const [old, kept] = [left.filter((age) => age > 3 * DAY_MS), left.filter((age) => age < 3 * DAY_MS)]

  // whole nodes go: of what is too old, less than one is left
  expect(old.length).toBeLessThan(100)
  expect(kept.length).toBe(601)

  start(2_000)
  await expect.poll(async () => (await raw.xpending('webhooks', 'delivery'))?.[0], { timeout: 20_000 }).toBe(0)
  await expect.poll(() => sentTo('anna').length).toBe(1)
  const letters = await raw.xrange('{webhooks}:delivery:dlq', '-', '+')

  expect(letters.length).toBe(old.length + 600)
  expect(new Set(letters.map(([, fields]) => fields[fields.indexOf('reason') + 1]))).toEqual(new Set(['expired']))
  expect((await read()).deadLetters).toEqual({ count: letters.length, byMerchant: { anna: letters.length } })
  expect((await read({ merchantId: 'anna' })).days[0].latencyMs.p50).toBeGreaterThan(0)
})
