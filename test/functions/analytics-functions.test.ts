import { mockClient } from 'aws-sdk-client-mock'
import { Redis } from 'ioredis'
import type { Connection } from 'millrace'
import { claim, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, it, test, vi } from 'vitest'
import { dashboard } from '../../functions/analytics/consumer.ts'
import type { Alert } from '../../functions/analytics/detector.ts'
import { detect } from '../../functions/analytics/detector.ts'
import { keys, sumField } from '../../functions/analytics/windows.ts'
import type { Ask } from '../../functions/shared/ask.ts'
import { createAsk } from '../../functions/shared/ask.ts'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import { createAclUsers, urlOf } from '../infra/acl-users.ts'
import { captureOutput } from '../support/metric-lines.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const STREAM = 'user-actions'

let server: PrivateRedis
let raw: Redis
let redis: Connection
let ask: Ask

beforeAll(async () => {
  server = await startRedisServer()
  raw = new Redis(server.url)
  await createAclUsers(raw)
  redis = connectIoredis(server.url)
  ask = createAsk(redis, dashboard)
})

afterAll(async () => {
  await redis.close()
  raw.disconnect()
  await server.stop()
  vi.unstubAllEnvs()
})

beforeEach(() => raw.flushall())

describe('detect()', () => {
  const NOW = Date.parse('2026-11-29T17:20:00Z')
  const CLOSED = NOW - 15 * MINUTE_MS

  /** Views of three usual days and of today until now; `unusual` from the last window on that is closed. */
  async function keepViews(unusual: number, forMs = 5 * MINUTE_MS): Promise<void> {
    await raw.xgroup('CREATE', STREAM, 'dashboard', '$', 'MKSTREAM')
    const pipeline = raw.pipeline()
    for (let ms = Date.parse('2026-11-29T13:00:00Z'); ms < Date.parse('2026-11-29T22:00:00Z'); ms += MINUTE_MS)
      for (const day of [0, 1, 2, 3]) {
        const isUnusual = day === 0 && ms >= CLOSED && ms < CLOSED + forMs
        const at = ms - day * DAY_MS
        pipeline.hset(keys.sums(at), sumField('views', at), isUnusual ? unusual : 20 + ((ms / MINUTE_MS) % 3))
      }
    await pipeline.exec()
  }

  /** What is sent; the first tries fail. */
  function sending(failures = 0) {
    const sent: Alert[] = []
    return {
      sent,
      async send(alert: Alert): Promise<void> {
        if (failures-- > 0) throw new Error('no topic')
        sent.push(alert)
      },
    }
  }

  const expireClaims = async () => raw.del(...(await raw.keys('*:alert:2*')))

  it('sends one alert for an episode, however many passes see it and side by side', async () => {
    await keepViews(120)
    const { sent, send } = sending()

    await Promise.all(Array.from({ length: 5 }, () => detect(ask, send, NOW)))
    for (const minutes of [1, 5, 30]) await detect(ask, send, NOW + minutes * MINUTE_MS)

    expect(sent).toMatchObject([
      { at: new Date(CLOSED).toISOString(), measures: { views: { value: 600, expected: 105 } } },
    ])
  })

  it('sends nothing where all is as usual, there is no group, or no stream', async () => {
    const { sent, send } = sending()

    expect(await detect(ask, send, NOW)).toEqual({ sent: [] })
    await raw.xadd(STREAM, '1-0', 'a', 'b')
    expect(await detect(ask, send, NOW)).toEqual({ sent: [] })
    await raw.del(STREAM)
    await keepViews(21)
    expect(await detect(ask, send, NOW)).toEqual({ sent: [], countedUntil: NOW })
    expect(sent).toEqual([])
  })

  it('sends once the claim is over what could not be sent', async () => {
    await keepViews(120)
    const { sent, send } = sending(1)

    await expect(detect(ask, send, NOW)).rejects.toThrow('no topic')
    await detect(ask, send, NOW)
    expect(sent).toEqual([])
    expect(await raw.pttl((await raw.keys('*:alert:2*'))[0] as string)).toBeLessThanOrEqual(60_000)
    await expireClaims()
    await detect(ask, send, NOW + 20 * MINUTE_MS)

    expect(sent).toHaveLength(1)
  })

  it('sends again what its process died over before it was noted', async () => {
    await keepViews(120)
    const { sent, send } = sending()
    const dies: Ask = async (commands) => {
      if (commands[0]?.[2] === 'sent') throw new Error('killed')
      return ask(commands)
    }

    await expect(detect(dies, send, NOW)).rejects.toThrow('killed')
    await detect(ask, send, NOW)
    expect(sent).toHaveLength(1)
    await expireClaims()
    await detect(ask, send, NOW + MINUTE_MS)

    expect(sent).toHaveLength(2)
  })

  test.each([
    ['goes on', 3 * HOUR_MS],
    ['is over', 10 * MINUTE_MS],
  ])('sends what began while it did not run, and %s', async (_what, forMs) => {
    await keepViews(120, forMs)
    const { sent, send } = sending()

    await detect(ask, send, CLOSED - 15 * MINUTE_MS)
    await detect(ask, send, CLOSED + 2 * HOUR_MS)
    await detect(ask, send, CLOSED + 3 * HOUR_MS)

    expect(sent).toMatchObject([{ at: new Date(CLOSED).toISOString() }])
  })

  it('does not begin anew where the group does', async () => {
    await keepViews(120)
    const { send } = sending()
    await detect(ask, send, NOW)
    const checked = await raw.get(keys.checked)
    await raw.xadd(STREAM, `${NOW}-0`, 'event_type', 'logout')

    expect(await detect(ask, send, NOW)).toEqual({ sent: [], countedUntil: 0 })

    expect(await raw.get(keys.checked)).toBe(checked)
  })

  it('sends what was refused for two hours, once it can', async () => {
    await keepViews(120)
    const { sent, send } = sending(100)
    for (let minutes = 0; minutes < 120; minutes += 10) {
      await detect(ask, send, NOW + minutes * MINUTE_MS).catch(() => {})
      await expireClaims()
    }

    await detect(ask, async (alert) => void sent.push(alert), NOW + 120 * MINUTE_MS)

    expect(sent).toHaveLength(1)
  })

  it('takes a backlog for none, and silence for a drop', async () => {
    await keepViews(0)
    const { sent, send } = sending()
    await raw.xadd(STREAM, `${CLOSED - MINUTE_MS}-0`, 'event_type', 'logout')

    await detect(ask, send, NOW)
    expect(sent).toEqual([])
    await raw.xreadgroup('GROUP', 'dashboard', 'poller-0', 'STREAMS', STREAM, '>')
    await detect(ask, send, NOW)
    expect(sent).toEqual([])
    await raw.xack(STREAM, 'dashboard', `${CLOSED - MINUTE_MS}-0`)
    await detect(ask, send, NOW)

    expect(sent).toMatchObject([{ measures: { views: { value: 0 } } }])
  })
})

describe('the handlers', () => {
  async function add(...events: Record<string, string>[]): Promise<void> {
    for (const event of events) await raw.xadd(STREAM, '*', ...Object.entries(event).flat())
  }
  const view = (more: Record<string, string> = {}) => ({
    event_type: 'page_view',
    event_id: 'e',
    published_at: new Date().toISOString(),
    action: 'view',
    user_id: 'u',
    session_id: 's',
    page: '/',
    ...more,
  })

  it('make dead letters of what cannot be counted, and ignore what is for others', async () => {
    await add(
      view({ event_id: 'none', published_at: 'tomorrow' }),
      view({ event_id: 'far', published_at: '99999999999999' }),
      view({ event_id: 'empty', user_id: '' }),
      view({ event_id: 'never', published_at: '2026-02-30T17:04:00Z' }),
      {
        ...view(),
        event_id: 'dollars',
        event_type: 'purchase',
        action: 'buy',
        amount: '1.00',
        items: '[]',
        currency: 'USD',
      },
      { ...view(), event_id: 'money', event_type: 'purchase', action: 'buy', amount: '1e9', items: '[]' },
      { event_type: 'logout', published_at: new Date().toISOString(), action: 'logout', user_id: 'u', session_id: 's' },
      { event_type: 'refund', event_id: 'other' },
      view({ event_id: 'fine' }),
      view({ event_id: 'fine' }),
    )
    await poll(dashboard, { redis })
    await claim(dashboard, { redis, lingerMs: 0 })

    const letters = await raw.xrange(`{${STREAM}}:dashboard:dlq`, '-', '+')
    const reasons = letters.map(([, fields]) => fields[fields.indexOf('reason') + 1])
    expect(reasons.toSorted((a = '', b = '') => a.localeCompare(b))).toEqual([
      'invalid',
      'invalid',
      'invalid',
      'malformed',
      'non-retryable',
      'non-retryable',
      'non-retryable',
    ])
    const sums = Object.values(await raw.hgetall(keys.sums(Date.now())))
    expect(sums).toEqual(['1'])
    expect(await raw.xpending(STREAM, 'dashboard')).toEqual([0, null, null, null])
  })

  it('overflow of a minute is a dead letter, and what was counted stays', async () => {
    const now = Date.now()
    await raw.hset(keys.sums(now), sumField('cents', now), '9223372036854775807')
    const purchase = { event_type: 'purchase', action: 'buy', amount: '0.01', items: '["a"]' }
    await add({ ...view({ event_id: 'much', published_at: new Date(now).toISOString() }), ...purchase })

    const report = await poll(dashboard, { redis })

    expect(report).toMatchObject({ acked: 0, retried: 1 })
    expect(await raw.hgetall(keys.sums(now))).toEqual({ [sumField('cents', now)]: '9223372036854775807' })
    expect(await raw.exists(keys.ranking('skus', now))).toBe(0)
  })
})

describe('read', () => {
  async function read(query?: Record<string, string>) {
    vi.stubEnv('REDIS_URL', server.url)
    const { handler } = await import('../../functions/analytics/read.ts')
    const { statusCode, body } = await handler({ queryStringParameters: query ?? null })
    return { statusCode, body: JSON.parse(body) }
  }

  // another file of the same process may have connected already
  beforeAll(() => void vi.resetModules())
  afterAll(async () => (await import('../../functions/shared/redis.ts')).redis.close())

  const iso = (ms: number) => new Date(ms).toISOString()

  it('answers the last hour where nothing was counted', async () => {
    const { statusCode, body } = await read()

    expect(statusCode).toBe(200)
    expect(Date.parse(body.to) - Date.parse(body.from)).toBeLessThanOrEqual(61 * MINUTE_MS)
    expect(body).toMatchObject({
      totals: { views: 0, late: 0, revenue: '0.00' },
      active: { users: 0, standardError: 0.0081 },
      openSessions: 0,
      minutes: [],
      top: { pages: [], skus: [] },
      anomalies: [],
    })
    expect(body.hours.at(-1)).toMatchObject({ sessions: 0, conversion: null })
  })

  it('knows a session as open until it logs out, whichever comes first', async () => {
    const who = { user_id: 'u', action: 'view', page: '/' }
    const add = (event_type: string, session_id: string, secondsAgo: number) => {
      const published_at = iso(Date.now() - secondsAgo * 1_000)
      const fields = { ...who, event_type, event_id: `${event_type}-${session_id}`, session_id, published_at }
      const action = event_type === 'logout' ? 'logout' : 'view'
      return raw.xadd(STREAM, '*', ...Object.entries({ ...fields, action }).flat())
    }
    await add('logout', 'over', 1)
    for (const session of ['over', 'open', 'other']) await add('page_view', session, 2)
    await poll(dashboard, { redis })

    expect((await read()).body).toMatchObject({ openSessions: 2, totals: { views: 3, logouts: 1 } })
  })

  it('is of keys that all have an end', async () => {
    const fields = { published_at: iso(Date.now()), user_id: 'u', session_id: 's', amount: '1.00', items: '["a"]' }
    for (const [type, action] of [
      ['purchase', 'buy'],
      ['page_view', 'view'],
      ['logout', 'logout'],
    ] as const) {
      const entry = { event_type: type, event_id: type, action, page: '/', ...fields }
      await raw.xadd(STREAM, '*', ...Object.entries(entry).flat())
    }
    await poll(dashboard, { redis })
    await detect(ask, async () => {}, Date.now())

    const kept = await raw.keys('*:stats:*')
    const lives = await Promise.all(kept.map((key) => raw.pttl(key)))
    expect([kept.length, Math.min(...lives) > 0]).toEqual([10, true])
  })

  test.each<[string, Record<string, string>]>([
    ['a time that is none', { from: 'yesterday' }],
    ['what ends before it begins', { from: iso(Date.now()), to: iso(Date.now() - HOUR_MS) }],
    ['what is over', { from: iso(Date.now() - 25 * HOUR_MS) }],
    ['the far future', { to: '9999-01-01T00:00:00Z' }],
    ['no names', { top: '0' }],
    ['too many names', { top: '101' }],
    ['half a name', { top: '1.5' }],
    ['too many minutes', { sliding: '61' }],
    ['what there is not', { stream: 'orders' }],
    ['a member of all objects', { __proto__: 'x', toString: 'x' }],
  ])('answers 400 to %s', async (_what, query) => {
    const { statusCode, body } = await read(query)

    expect([statusCode, typeof body.error]).toEqual([400, 'string'])
  })

  it('reads under a user that may do nothing else', async () => {
    const narrow = connectIoredis(urlOf(server, 'analytics-read'))
    const { readDashboard } = await import('../../functions/analytics/dashboard.ts')
    const to = Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS

    const shown = await readDashboard(createAsk(narrow, dashboard), { from: to - HOUR_MS, to, top: 1, sliding: 1 })
    await narrow.close()

    expect(shown.totals.views).toBe(0)
  })
})

test('poller and claimer run under users that may do nothing else with what is counted', async () => {
  const connectAs = (name: string) => connectIoredis(urlOf(server, name))
  const [poller, claimer] = ['analytics-poller', 'analytics-claimer'].map(connectAs) as [Connection, Connection]
  const now = Date.now()
  const fields = { published_at: String(now), user_id: 'u', session_id: 's', amount: '1.00', items: '["a"]' }
  for (const [n, action] of ['buy', 'view', 'buy'].entries()) {
    const type = action === 'buy' ? 'purchase' : 'page_view'
    const entry = { event_type: type, event_id: String(n), action, page: '/', ...fields }
    await raw.xadd(STREAM, '*', ...Object.entries(entry).flat())
  }

  const polled = await poll(dashboard, { redis: poller, remainingMs: 20_000 })
  const claimed = await claim(dashboard, { redis: claimer, lingerMs: 0 })
  await Promise.all([poller.close(), claimer.close()])

  expect([polled, claimed]).toMatchObject([{ read: 3, acked: 3 }, { claimed: 0 }])
  expect(await raw.hget(keys.sums(now), sumField('cents', now))).toBe('200')
})

describe('analyticsDetect', () => {
  afterAll(async () => (await import('../../functions/shared/redis.ts')).redis.close())

  it('sends an alert to the topic, once, and writes its metrics', async () => {
    const TopicArn = 'arn:aws:sns:eu-central-1:123456789012:shop-alerts'
    vi.resetModules()
    for (const [name, value] of Object.entries({ REDIS_URL: server.url, ALERTS_TOPIC_ARN: TopicArn }))
      vi.stubEnv(name, value)
    vi.stubEnv('POWERTOOLS_METRICS_DISABLED', 'false')
    const { PublishCommand, SNSClient } = await import('@aws-sdk/client-sns')
    const sns = mockClient(SNSClient).on(PublishCommand).resolves({})
    const lines = captureOutput()
    const now = Date.now()
    const unusualAt = Math.floor((now - 25 * MINUTE_MS) / (5 * MINUTE_MS)) * 5 * MINUTE_MS
    await raw.xgroup('CREATE', STREAM, 'dashboard', '$', 'MKSTREAM')
    const pipeline = raw.pipeline()
    const hour = Math.floor(now / HOUR_MS) * HOUR_MS
    for (let at = hour - 4 * HOUR_MS; at < hour + 2 * HOUR_MS; at += MINUTE_MS)
      for (const day of [0, 1, 2, 3]) {
        const views = day === 0 && at >= unusualAt && at < unusualAt + 5 * MINUTE_MS ? 300 : 20
        pipeline.hset(keys.sums(at - day * DAY_MS), sumField('views', at - day * DAY_MS), views)
      }
    await pipeline.hset(keys.sums(now - MINUTE_MS), sumField('late', now - MINUTE_MS), 3).exec()

    const { handler } = await import('../../functions/analytics/detect.ts')
    await handler()
    await handler()
    vi.restoreAllMocks()

    expect(sns.commandCalls(PublishCommand).map(({ args: [command] }) => command.input)).toEqual([
      {
        TopicArn,
        Subject: `Unusual views at ${new Date(unusualAt).toISOString()}`,
        Message: expect.stringMatching(/"measures":\{"views":\{"value":\d+,"expected":100,"z":/),
      },
    ])
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { service: 'analytics', AlertCount: 1, LateEventCount: 3, AheadEventCount: 0, ActiveUserCount: 0 },
      { AlertCount: 0 },
    ])
  })
})

test('the detector runs under a user that may do nothing else', async () => {
  await raw.xgroup('CREATE', STREAM, 'dashboard', '$', 'MKSTREAM')
  const now = Date.parse('2026-11-29T17:20:00Z')
  for (const day of [1, 2, 3])
    for (const hour of [0, 1, 2])
      for (let minute = 0; minute < 60; minute++) {
        const at = Math.floor(now / HOUR_MS) * HOUR_MS - day * DAY_MS - hour * HOUR_MS + minute * MINUTE_MS
        await raw.hset(keys.sums(at), sumField('views', at), 20)
      }
  await raw.hset(keys.sums(now - 15 * MINUTE_MS), sumField('views', now - 15 * MINUTE_MS), 900)
  for (let ms = now - 3 * HOUR_MS; ms < now - 15 * MINUTE_MS; ms += MINUTE_MS)
    await raw.hset(keys.sums(ms), sumField('views', ms), 20)
  const narrow = connectIoredis(urlOf(server, 'analytics-detect'))

  const { sent } = await detect(createAsk(narrow, dashboard), async () => {}, now)
  await narrow.close()

  expect(sent).toHaveLength(1)
})
