import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { effects } from 'millrace'
import { createHandlerContext, effectsOf } from 'millrace/testing'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { computeOffline, quantileError, type Sample } from '../../demo/monitoring/offline.ts'
import { SampleTaken } from '../../examples/monitoring/events.ts'
import { addToRollups, type Bucket, readBuckets, summarize } from '../../examples/monitoring/rollups.ts'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'

const MINUTE_MS = 60_000
const NOW = Date.parse('2026-01-02T03:04:05.678Z')

const aSample = (members: Partial<Sample> = {}): Sample => ({
  source: 'web-1',
  metric: 'latency',
  value: '12.5',
  at: NOW,
  ...members,
})

let server: PrivateRedis
let raw: Redis
beforeAll(async () => {
  server = await startRedisServer()
  raw = new Redis(server.url)
})
beforeEach(() => raw.flushall())
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllEnvs()
})
afterAll(async () => {
  raw.disconnect()
  await server.stop()
})

/** The system's modules as a function of its own has them, and the package's that they share. */
async function load(environment: Record<string, string> = {}) {
  vi.resetModules()
  for (const [name, value] of Object.entries({
    REDIS_URL: server.url,
    POWERTOOLS_METRICS_DISABLED: 'true',
    ...environment,
  }))
    vi.stubEnv(name, value)
  const { client, redis } = await import('../../examples/monitoring/redis.ts')
  const { recordSample } = await import('../../examples/monitoring/record-sample.ts')
  const { admitSeries } = await import('../../examples/monitoring/series.ts')
  const { handler: query } = await import('../../examples/monitoring/query.ts')
  const { handler: alert } = await import('../../examples/monitoring/alert.ts')
  const { rollup } = await import('../../examples/monitoring/consumer.ts')
  const { claim, createPublisher, poll } = await import('millrace')
  const { accessOf } = await import('millrace/operate')
  const testing = await import('millrace/testing')
  /** Calls the handler; what it asked for. */
  const record = async (sample: Sample) => {
    const context = testing.createHandlerContext(ENTRY)
    await recordSample({ type: 'SampleTaken', version: 1, eventId: 'e-1', payload: sample }, context)
    return testing.effectsOf(context)
  }
  /** The same, and has the server do it, as a settlement would. */
  const recordNow = async (sample: Sample) => {
    for (const [name, ...args] of await record(sample)) await raw.call(name, ...args)
  }
  const close = async () => {
    client.disconnect()
    await redis.close()
  }
  return {
    record,
    recordNow,
    recordSample,
    admitSeries,
    query,
    alert,
    rollup,
    redis,
    claim,
    createPublisher,
    poll,
    accessOf,
    close,
  }
}

function at(ms: number): void {
  vi.useFakeTimers({ toFake: ['Date'], now: ms })
}

const ENTRY = { stream: 'samples', group: 'rollup', entryId: `${NOW}-0` }

async function isValid(payload: unknown): Promise<boolean> {
  return (await SampleTaken.payload['~standard'].validate(payload)).issues === undefined
}

describe('SampleTaken', () => {
  test.each(['0', '-0', '12', '-12.5', '0.000001', '999999999999', '999999999.999999', '123456789012.345'])(
    'takes %s',
    async (value) => {
      expect(await isValid(aSample({ value }))).toBe(true)
    },
  )

  test.each([
    'NaN',
    'Infinity',
    '-Infinity',
    '1e3',
    '1e308',
    '1e-320',
    '0x10',
    '',
    ' 1',
    '1\n',
    '+1',
    '.5',
    '1.',
    '1.1234567',
    '1234567890123',
    '1234567890.123456',
    '١',
    'x'.repeat(1_000_000),
  ])('refuses the value %j', async (value) => {
    expect(await isValid(aSample({ value }))).toBe(false)
  })

  test.each(['a:b', '{web}:1', 'web/1', '10.0.0.1:8080', '[::1]', '*?[a]\\', '%00'])(
    'takes a source called %s',
    async (source) => {
      expect(await isValid(aSample({ source }))).toBe(true)
    },
  )

  test.each(['', ' ', 'a b', 'a\u0000', 'a\n', '\u00e9', '\ud800', 'x'.repeat(101), 'x'.repeat(1_000_000)])(
    'refuses a source called %j',
    async (source) => {
      expect(await isValid(aSample({ source }))).toBe(false)
    },
  )

  test.each([1.5, -1, 1_767_323_045, 1_767_323_045_678_000_000, Number.NaN, Infinity, '1767323045678', null])(
    'refuses the time %s',
    async (time) => {
      expect(await isValid({ ...aSample(), at: time })).toBe(false)
    },
  )
})

test.each([
  ['value', 12.5, 'must be decimal text, as value.toFixed(6) gives'],
  ['source', undefined, 'must be text of 1 to 100 printable ASCII characters without a space'],
  ['at', NOW / 1_000, 'must be whole milliseconds since 1970'],
  ['at', Math.floor(NOW / 1_000), 'must be whole milliseconds since 1970'],
])('SampleTaken says what %s has to be instead of %s', async (member, value, message) => {
  const result = await SampleTaken.payload['~standard'].validate({ ...aSample(), [member]: value })

  expect(result.issues).toMatchObject([{ path: [member], message }])
})

describe('recordSample()', () => {
  test('adds a sample to a bucket of each level', async () => {
    at(NOW)
    const { record, close } = await load()
    const effects = await record(aSample({ value: '-12.5' }))
    await close()

    const sums = '{samples}:sums:1m:1767323040000:web-1 latency'
    const ends = '{samples}:ends:1m:1767323040000:web-1 latency'
    expect(effects.filter(([, key]) => String(key).includes(':1m:'))).toEqual([
      ['HINCRBY', sums, 'n141', '1'],
      ['HINCRBY', sums, 'units', '-12'],
      ['HINCRBY', sums, 'micros', '-500000'],
      ['ZADD', ends, 'LT', '-12.5', 'min'],
      ['ZADD', ends, 'GT', '-12.5', 'max'],
      ['PEXPIRE', sums, 86_400_000 + 1_767_323_100_000 - NOW],
      ['PEXPIRE', ends, 86_400_000 + 1_767_323_100_000 - NOW],
    ])
    expect(effects).toHaveLength(21)
  })

  test('adds a sample of 20 minutes ago to the levels that still keep its time', async () => {
    at(NOW)
    const { record, close } = await load()
    const effects = await record(aSample({ at: NOW - 20 * MINUTE_MS }))
    await close()

    const levels = effects.map(([, key]) => String(key).split(':')[2])
    expect([...new Set(levels)]).toEqual(['1m', '1h'])
  })

  test('counts a sample that is older than an hour, and keeps nothing of it', async () => {
    at(NOW)
    const { record, close } = await load()
    const effects = await record(aSample({ at: NOW - 60 * MINUTE_MS - 1 }))
    await close()

    expect(effects).toEqual([['HINCRBY', '{samples}:refused', 'late', '1']])
    expect(await raw.keys('*')).toEqual([])
  })

  test('refuses a time that is more than a minute ahead of the entry', async () => {
    const { record, close } = await load()

    await expect(record(aSample({ at: NOW + 60_001 }))).rejects.toMatchObject({
      code: 'ERR_NON_RETRYABLE',
      message: "A sample's time is 60001 ms in the future",
    })
    await close()
  })

  test('refuses a time in the future though its entry has an id that is later', async () => {
    at(NOW)
    const { recordSample, close } = await load()
    const context = createHandlerContext({ ...ENTRY, entryId: '9999999999999-0' })
    const event = { type: 'SampleTaken', version: 1, eventId: 'e-1', payload: aSample({ at: NOW + 60_001 }) } as const

    await expect(recordSample(event, context)).rejects.toThrow("A sample's time is 60001 ms in the future")
    await close()
  })

  test('counts samples of series beyond the cap', async () => {
    at(NOW)
    const { record, close } = await load({ MAX_SERIES: '1' })
    await record(aSample())
    const effects = await record(aSample({ source: 'web-2' }))
    await close()

    expect(effects).toEqual([['HINCRBY', '{samples}:refused', 'series', '1']])
  })
})

test('admitSeries() admits no more than there is room for, whoever asks at once', async () => {
  const functions: Awaited<ReturnType<typeof load>>[] = []
  for (let n = 0; n < 4; n++) functions.push(await load({ MAX_SERIES: '20' }))
  const names = Array.from({ length: 500 }, (_, n) => `host-${n} m`)

  const answers = await Promise.all(names.flatMap((series) => functions.map(({ admitSeries }) => admitSeries(series))))
  await Promise.all(functions.map(({ close }) => close()))

  expect(await raw.zcard('{samples}:series')).toBe(20)
  expect(answers.filter(Boolean)).toHaveLength(80)
})

test('admitSeries() forgets a series after 90 days without a sample', async () => {
  await raw.zadd('{samples}:series', NOW - 90 * 86_400_000 - 1, 'old m')
  at(NOW)
  const { admitSeries, close } = await load({ MAX_SERIES: '1' })

  expect(await admitSeries('new m')).toBe(true)
  await close()
  expect(await raw.zrange('{samples}:series', '0', '-1')).toEqual(['new m'])
})

test('admitSeries() lists a series again within a minute of the loss of the list', async () => {
  at(NOW)
  const { admitSeries, close } = await load()
  await admitSeries('web-1 latency')
  await raw.flushall()
  at(NOW + 60_001)
  await admitSeries('web-1 latency')
  await close()

  expect(await raw.zrange('{samples}:series', '0', '-1')).toEqual(['web-1 latency'])
})

describe('summarize()', () => {
  /** Of either sign, from a millionth to 10^12, many of a size, and zeros. */
  const value = fc.oneof(
    fc
      .tuple(fc.integer({ min: -8, max: 12 }), fc.integer({ min: 1, max: 999_999_999 }), fc.boolean())
      .map(([power, digits, isNegative]) => {
        const text = (digits * 10 ** (power - 9)).toFixed(power > 3 ? 3 : 6)
        return isNegative ? `-${text}` : text
      }),
    fc.integer({ min: -1_000_000, max: 1_000_000 }).map((micros) => (micros / 1_000_000).toFixed(6)),
    fc.constantFrom('0', '-0', '0.000001', '-0.000001', '999999999999', '-999999999999', '123456789012.345'),
  )
  const samples = fc.array(
    fc.record({ value, at: fc.integer({ min: NOW - 10_000, max: NOW }) }).map((members) => aSample(members)),
    { minLength: 1, maxLength: 200 },
  )

  test.each(['1s', '1m', '1h'])(
    'has count, sum and extremes exactly and quantiles within a hundredth, by %s',
    (level) => {
      at(NOW)
      fc.assert(
        fc.property(samples, (all) => {
          const [exact, summary] = [computeOffline(all), summarize(bucketsOf(all, level))]
          expect(summary).toMatchObject({ count: exact.count, sum: exact.sum, min: exact.min, max: exact.max })
          expect(quantileError(exact, summary)).toBeLessThanOrEqual(0.01)
        }),
        { numRuns: 100 },
      )
    },
  )

  test('has nothing to say of no buckets', () => {
    expect(summarize([])).toBeUndefined()
  })
})

describe('query', () => {
  const question = { source: 'web-1', metric: 'latency', level: '1s', from: `${NOW - 10_000}`, to: `${NOW + 1}` }

  test('answers a point for each bucket, and all of them in one', async () => {
    at(NOW)
    const { recordNow, query, close } = await load()
    await recordNow(aSample({ value: '1', at: NOW - 2_000 }))
    await recordNow(aSample({ value: '2.5' }))
    await recordNow(aSample({ value: '4' }))
    const { statusCode, body } = await query({ queryStringParameters: question })
    await close()

    const { points, total } = JSON.parse(body)
    expect(statusCode).toBe(200)
    expect(points).toMatchObject([
      { at: 1_767_323_043_000, count: 1, sum: '1.000000', min: 1, max: 1, p50: 1, p99: 1 },
      { at: 1_767_323_045_000, count: 2, sum: '6.500000', min: 2.5, max: 4 },
    ])
    expect(total).toMatchObject({ count: 3, sum: '7.500000', min: 1, max: 4 })
    expect(Math.abs(total.p50 - 2.5)).toBeLessThan(0.025)
  })

  test('answers no points where there is nothing', async () => {
    const { query, close } = await load()
    const { statusCode, body } = await query({ queryStringParameters: question })
    await close()

    expect([statusCode, JSON.parse(body)]).toEqual([200, expect.objectContaining({ points: [], total: null })])
  })

  test.each([
    ['nothing', undefined, 'source: must be text of 1 to 100 printable ASCII characters'],
    ['nothing, as a REST API says it', null, 'source: must be'],
    ['a level that does not exist', { ...question, level: '5m' }, 'level: must be one of 1s, 1m, 1h'],
    ['a level that every object has', { ...question, level: 'constructor' }, 'level: '],
    ['a name with a space', { ...question, source: 'a b' }, 'source: '],
    ['times in seconds', { ...question, from: '1767323045' }, 'from: '],
    ['times that go backwards', { ...question, to: question.from }, 'to: must be after from'],
    ['more than a thousand points', { ...question, from: `${NOW - 999_999}` }, 'by at most 1000 points of 1s'],
    ['what it does not know', { ...question, limit: '5' }, 'parameters: must be source, metric, level'],
  ])('refuses %s', async (_what, queryStringParameters, error) => {
    const { query, close } = await load()
    const { statusCode, body } = await query(queryStringParameters === undefined ? {} : { queryStringParameters })
    await close()

    expect(statusCode).toBe(400)
    expect(JSON.parse(body).errors[0]).toContain(error)
  })
})

describe('alert', () => {
  /** Minutes with a sample each, from `from` minutes before NOW on; then a run of the alert. */
  async function run(minutes: readonly number[], value: string, now = NOW) {
    const said = vi.spyOn(console, 'log').mockImplementation(() => {})
    at(NOW)
    const { recordNow, alert, close } = await load({ ALERT_P99_ABOVE: '500' })
    for (const minute of minutes) await recordNow(aSample({ value, at: NOW - minute * MINUTE_MS }))
    at(now)
    const { notices } = await alert()
    await close()
    const lines = said.mock.calls.map(([line]) => String(line))
    said.mockRestore()
    expect(lines).toEqual(notices)
    return notices
  }

  test('fires once after three minutes in a row above the limit, and resolves once', async () => {
    expect(await run([3, 4, 5], '501')).toEqual(['web-1 latency: FIRING, p99 over 5 minutes is 501, the limit 500'])
    expect(await run([], '501')).toEqual([])
    expect(await run([], '501', NOW + 10 * MINUTE_MS)).toEqual([
      'web-1 latency: RESOLVED, since 2026-01-02T03:02:00.000Z, p99 over 5 minutes is unknown, the limit 500',
    ])
    expect(await run([], '501', NOW + 11 * MINUTE_MS)).toEqual([])
  })

  test('stays silent for two minutes, at the limit, and for other metrics', async () => {
    expect(await run([3, 4], '501')).toEqual([])
    await raw.flushall()
    expect(await run([3, 4, 5, 6], '500')).toEqual([])
  })

  /** As `run` with three minutes above the limit, where something is broken: what was notified, and the error. */
  async function runBroken(): Promise<{ lines: string[]; error: string }> {
    const said = vi.spyOn(console, 'log').mockImplementation(() => {})
    at(NOW)
    const { recordNow, alert, close } = await load()
    for (const minute of [3, 4, 5])
      await recordNow(aSample({ value: '501', at: NOW - minute * MINUTE_MS })).catch(() => {})
    const error = await alert().catch((error: Error) => error)
    await close()
    const lines = said.mock.calls.map(([line]) => String(line))
    said.mockRestore()
    return { lines, error: (error as Error).message }
  }

  test('judges all others where a key is foreign', async () => {
    await raw.set('{samples}:sums:1m:1767322860000:bad latency', 'x')
    await raw.zadd('{samples}:series', NOW, 'bad latency')
    const { lines, error } = await runBroken()

    expect(lines).toEqual(['web-1 latency: FIRING, p99 over 5 minutes is 501, the limit 500'])
    expect(error).toMatch(/^All was judged but 1: bad latency: WRONGTYPE/)
  })

  test('resolves a series of a metric that the rule is no longer for', async () => {
    at(NOW)
    const { recordNow, close } = await load()
    for (const minute of [3, 4, 5])
      await recordNow(aSample({ metric: 'cpu', value: '600', at: NOW - minute * MINUTE_MS }))
    await close()
    await raw.hset('{samples}:firing', 'web-1 cpu', NOW)

    expect(await run([], '1')).toEqual([expect.stringContaining('web-1 cpu: RESOLVED')])
  })

  test('ends at once when Redis cannot be reached', async () => {
    const { alert, close } = await load({ REDIS_URL: 'redis://127.0.0.1:1' })

    await expect(alert()).rejects.toThrow('max retries')
    await close()
  })

  test.each([
    [{ ALERT_METRIC: '' }, 'ALERT_METRIC the name of a metric'],
    [{ ALERT_P99_ABOVE: '0,5' }, 'ALERT_P99_ABOVE must be a number'],
  ])('refuses the rule %j', async (environment, message) => {
    await expect(load(environment)).rejects.toThrow(message)
  })
})

test('every function works under the rights that the README gives it', async () => {
  const readme = readFileSync(new URL('../../examples/monitoring/README.md', import.meta.url), 'utf8')
  const rights = new Map(
    [...readme.matchAll(/^(poller, claimer|query|alert|a source) +([%~].*)$/gm)].map(([, who, access]) => [
      who as string,
      access as string,
    ]),
  )
  const admin = await load()
  await admin.close()
  const { poller, claimer } = admin.accessOf(admin.rollup)
  const users = {
    poller: `${poller} ${rights.get('poller, claimer')}`,
    claimer: `${claimer} ${rights.get('poller, claimer')}`,
    query: rights.get('query'),
    alert: rights.get('alert'),
    source: rights.get('a source'),
  }
  for (const [user, access] of Object.entries(users))
    await raw.call('ACL', 'SETUSER', user, 'reset', 'on', '>p', ...(access?.match(/\([^)]*\)|\S+/g) ?? []))
  const urlOf = (user: string) => server.url.replace('redis://', `redis://${user}:p@`)
  const now = Date.now()
  const ofSource = await load({ REDIS_URL: urlOf('source') })
  await ofSource
    .createPublisher({ stream: 'samples', redis: ofSource.redis })
    .publish(SampleTaken, aSample({ at: now }))

  const ofPoller = await load({ REDIS_URL: urlOf('poller') })
  expect(await ofPoller.poll(ofPoller.rollup, { redis: ofPoller.redis })).toMatchObject({ read: 1, acked: 1 })
  const ofClaimer = await load({ REDIS_URL: urlOf('claimer') })
  expect(await ofClaimer.claim(ofClaimer.rollup, { redis: ofClaimer.redis })).toMatchObject({ claimed: 0 })
  const ofQuery = await load({ REDIS_URL: urlOf('query') })
  const question = { source: 'web-1', metric: 'latency', level: '1h', from: `${now - 1}`, to: `${now + 1}` }
  expect(JSON.parse((await ofQuery.query({ queryStringParameters: question })).body).total).toMatchObject({ count: 1 })
  const ofAlert = await load({ REDIS_URL: urlOf('alert') })
  await raw.hset('{samples}:firing', 'gone latency', now)
  vi.spyOn(console, 'log').mockImplementation(() => {})
  expect((await ofAlert.alert()).notices).toHaveLength(1)
  vi.restoreAllMocks()
  for (const one of [ofSource, ofPoller, ofClaimer, ofQuery, ofAlert]) await one.close()
  expect(await raw.call('ACL', 'LOG')).toEqual([])
})

test('readBuckets() leaves out a bucket of which only one key is left', async () => {
  await raw.zadd('{samples}:ends:1s:1767323045000:a m', 1, 'min', 1, 'max')

  expect(await readBuckets(raw, 'a m', '1s', NOW, NOW + 1)).toEqual([])
})

/** What a server would hold, by the commands that are asked for. */
function bucketsOf(samples: readonly Sample[], level: string): Bucket[] {
  const buckets = new Map<string, { sums: Record<string, string>; ends: { min: number; max: number } }>()
  for (const sample of samples) {
    const context = createHandlerContext(ENTRY)
    addToRollups(effects(context), 's m', sample)
    for (const [name, key, ...args] of effectsOf(context)) {
      const [, , ofLevel, start = ''] = String(key).split(':')
      if (ofLevel !== level) continue
      const bucket = buckets.get(start) ?? { sums: {}, ends: { min: Infinity, max: -Infinity } }
      buckets.set(start, bucket)
      if (name === 'HINCRBY')
        bucket.sums[`${args[0]}`] = `${BigInt(bucket.sums[`${args[0]}`] ?? 0) + BigInt(args[1] as string)}`
      if (name === 'ZADD' && args[0] === 'LT') bucket.ends.min = Math.min(bucket.ends.min, Number(args[1]))
      if (name === 'ZADD' && args[0] === 'GT') bucket.ends.max = Math.max(bucket.ends.max, Number(args[1]))
    }
  }
  return [...buckets].map(([start, { sums, ends }]) => ({ at: Number(start), sums, ends: [ends.min, ends.max] }))
}
