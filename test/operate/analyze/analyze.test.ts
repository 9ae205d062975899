import type { Redis } from 'ioredis'
import { type Codec, flatCodec, RedisConnectionError, RedisReplyError } from 'millrace'
import { type AnalyzeOptions, analyze } from 'millrace/operate'
import { connectUpstash } from 'millrace/upstash'
import { describe, expect, onTestFinished, test } from 'vitest'
import { startRestServer } from '../../support/rest-server.ts'
import { startScenario } from '../../support/scenario.ts'

const DAY = Date.UTC(2026, 0, 31)

/** An event of ours, written at a time. */
function add(raw: Redis, id: string | number, type: string, payload = '{}', ...more: (string | Buffer)[]) {
  return raw.xadd('orders', id, 'eventType', type, 'payload', payload, ...more)
}

async function filled() {
  const scenario = await startScenario()
  const { raw, redis } = scenario
  return {
    ...scenario,
    look: (options: Partial<AnalyzeOptions> = {}) => analyze('orders', { redis, ...options }),
    add: add.bind(undefined, raw),
  }
}

describe('analyze()', () => {
  test('counts types, producers and values with their shares, most frequent first', async () => {
    const { look, add } = await filled()
    await add(`${DAY}-0`, 'Paid', '{"action":"view","of":{"deep":[7]}}', 'producer', 'shop')
    await add(`${DAY}-1`, 'Paid', '{"action":"view","of":{"deep":[8]}}', 'producer', 'shop')
    await add(`${DAY}-2`, 'Shipped', '{"action":7,"of":null}', 'producer', 'app')
    await add(`${DAY}-3`, 'Paid', 'no JSON', 'action', 'of the entry')

    expect(await look({ by: 'action' })).toMatchObject({
      state: 'stream',
      length: 4,
      read: 4,
      entries: 4,
      isComplete: true,
      firstId: `${DAY}-0`,
      lastId: `${DAY}-3`,
      types: {
        rows: [
          { value: 'Paid', count: 3, error: 0, share: 0.75 },
          { value: 'Shipped', count: 1, error: 0, share: 0.25 },
        ],
        others: { count: 0, error: 0 },
        distinct: 2,
      },
      producers: {
        rows: [
          { value: 'shop', count: 2 },
          { value: 'app', count: 1 },
        ],
      },
      by: {
        field: 'action',
        rows: [{ value: 'view', count: 2 }, { value: '7' }, { value: 'of the entry' }],
        missing: 0,
        unreadable: 0,
      },
      unknown: {},
    })
    const { by: deep } = await look({ by: 'payload.of.deep.0', top: 1 })
    expect(deep).toMatchObject({ rows: [{ value: '7', count: 1 }], others: { count: 1 }, missing: 1, unreadable: 1 })
  })

  test('tells entries that are no events apart, and reads flat ones', async () => {
    const { look, raw } = await filled()
    await raw.xadd('orders', '1-0', 'event_type', 'Flat', 'order_id', 'o-1', 'occurred_at', '1969-12-31T23:59:59.900Z')
    await raw.xadd('orders', '2-0', 'no', 'event')
    await raw.xadd('orders', '3-0', 'eventType', 'A', 'eventType', 'B')
    await raw.xadd('orders', '4-0', 'eventType', '')
    await raw.xadd('orders', '5-0', Buffer.from('eventType'), Buffer.from([0xff, 0xfe]))

    const { types, noEvents, payloadBytes, entryBytes } = await look()
    expect(types).toMatchObject({ rows: [{ value: 'Flat', count: 1, lag: { measured: 1, maxMs: 101 } }], distinct: 1 })
    expect(noEvents).toEqual({
      count: 4,
      reasons: {
        'no event type': 1,
        'more than one event type': 1,
        'an empty event type': 1,
        'an event type that is no UTF-8': 1,
      },
    })
    expect([payloadBytes.measured, payloadBytes.max, entryBytes.measured]).toEqual([1, 11, 5])
  })

  test('reads fields of other names, and entries by a codec', async () => {
    const { look, raw } = await filled()
    await raw.xadd('orders', '1-0', 'kind', 'A', 'by', 'me', 'body', '{"a":{"b":1}}', 'at', '1970-01-01T00:00:00')
    const fields = { type: 'kind', producer: 'by', payload: 'body', occurredAt: 'at' }
    const failing: Codec = {
      decode: () => {
        throw new Error('secret')
      },
    }

    const named = await look({ fields, by: 'payload.a' })
    const decoded = await look({ codec: flatCodec({ typeField: 'kind', jsonFields: ['body'] }), by: 'body.a.b' })
    expect(named).toMatchObject({
      types: { rows: [{ value: 'A', lag: { maxMs: 1 } }] },
      producers: { rows: [{ value: 'me' }] },
      by: { rows: [{ value: '{"b":1}' }] },
      payloadBytes: { max: 13 },
    })
    expect(decoded).toMatchObject({ types: { rows: [{ value: 'A' }] }, by: { rows: [{ value: '1' }] } })
    expect((await look({ codec: failing })).noEvents).toEqual({ count: 1, reasons: { 'its codec cannot read it': 1 } })
  })

  test('counts values of 1 MB, control characters and bytes that are no UTF-8', async () => {
    const { look, raw } = await filled()
    const long = 'é'.repeat(500_000)
    const values = [long, `${long}x`, '\u001b[2J', Buffer.from([0xc3, 0x28, 0x41]), '', long]
    for (const [n, value] of values.entries()) await raw.xadd('orders', `${n + 1}-0`, 'eventType', 'A', 'v', value)

    const { by } = await look({ by: 'v' })
    expect(by).toMatchObject({ distinct: 5, missing: 0 })
    expect(by?.rows.map(({ value, bytes, isUtf8, count }) => [value, bytes, isUtf8, count])).toEqual(
      expect.arrayContaining([
        ['é'.repeat(48), 1_000_000, undefined, 2],
        ['é'.repeat(48), 1_000_001, undefined, 1],
        ['\u001b[2J', undefined, undefined, 1],
        ['\\xc3(A', undefined, false, 1],
        ['', undefined, undefined, 1],
      ]),
    )
    expect(new Set(by?.rows.map(({ sha256 }) => sha256)).size).toBe(3)
  })

  test('counts any number of values, with the error that each may have', async () => {
    const { look, raw } = await filled()
    const script = `for n = 1, 30000 do
      redis.call('XADD', KEYS[1], n..'-0', 'eventType', 'type-'..n, 'producer', 'p'..n, 'v', n % 4 == 0 and 'hot' or 'v'..n) end`
    await raw.eval(script, 1, 'orders')

    const { by, types } = await look({ by: 'v' })
    expect(by?.rows.map(({ value }) => value)).toEqual(['hot'])
    const { count = 0, error = 0 } = by?.rows[0] ?? {}
    expect([count >= 7_500, count - error <= 7_500, error <= 30]).toEqual([true, true, true])
    expect(by?.others).toEqual({ count: 30_000 - count, error })
    expect(types).toEqual({ rows: [], others: { count: 30_000, error: 0 } })
  })

  test('counts hours as a clock in the zone shows them, also when it is changed', async () => {
    const { look, add } = await filled()
    // in Berlin, 25 October 2026 has the hour from 2 to 3 twice, and 29 March has none
    for (const time of [
      '2026-03-29T00:30Z',
      '2026-03-29T01:30Z',
      '2026-10-25T00:30Z',
      '2026-10-25T01:30Z',
      '2026-10-25T02:30Z',
    ])
      await add(`${Date.parse(time)}-0`, 'A')
    await add('9000000000000000-0', 'A')
    const hoursOf = async (timeZone: string) => {
      const { hours } = await look({ timeZone })
      return [hours.timeZone, hours.undated, hours.counts.flatMap((count, hour) => (count > 0 ? [[hour, count]] : []))]
    }

    expect(await hoursOf('Europe/Berlin')).toEqual(['Europe/Berlin', 1, [[1, 1], [2, 2], [3, 2]]]) // biome-ignore format: one line
    expect(await hoursOf('UTC')).toEqual(['UTC', 1, [[0, 2], [1, 2], [2, 1]]]) // biome-ignore format: one line
    expect(await hoursOf('Asia/Kathmandu')).toEqual(['Asia/Kathmandu', 1, [[6, 2], [7, 2], [8, 1]]]) // biome-ignore format: one line
  })

  test('says how many entries a minute has, those without any included', async () => {
    const { look, add } = await filled()
    for (const [n, minute] of [0, 0, 0, 1, 9].entries()) await add(`${DAY + minute * 60_000}-${n}`, 'A')

    const { perMinute, timeline } = await look()
    expect(perMinute).toEqual({ minutes: 10, mean: 0.5, p50: 0, p99: 3, max: 3, maxAt: DAY })
    expect(timeline).toEqual({ startMs: DAY, stepMs: 60_000, counts: [3, 1, 0, 0, 0, 0, 0, 0, 0, 1] })
  })

  test('says how long after its event an entry was written, and counts clocks that are ahead', async () => {
    const { look, add } = await filled()
    const at = (ms: number) => ['occurredAt', new Date(DAY + ms).toISOString()] as const
    await add(`${DAY}-0`, 'A', '{}', ...at(-100))
    await add(`${DAY}-1`, 'A', '{}', ...at(60_000))
    await add(`${DAY}-2`, 'A', '{}', 'occurredAt', 'yesterday')
    await add(`${DAY}-3`, 'B', '{}')
    await add(`${DAY}-4`, 'A', '{}', 'occurredAt', '2026-02-30T00:00:00Z')

    const { types } = await look()
    expect(types.rows.map(({ value, lag }) => [value, lag])).toEqual([
      ['A', { measured: 2, ahead: 1, p50Ms: 0, p99Ms: 100, maxMs: 100 }],
      ['B', undefined],
    ])
  })

  test.each([
    ['Python, time.time()', '1769817600.25', 750],
    ['whole seconds', '1769817600', 1_000],
    ['Python, str() of a datetime', '2026-01-31 00:00:00.250000+00:00', 750],
    ['PostgreSQL', '2026-01-31 01:00:00.25+01', 750],
    ['no zone', '2026-01-31 00:00:00.25', 750],
    ['milliseconds', '1769817600250', 750],
  ])('reads when an event occurred as other systems write it: %s', async (_title, occurredAt, lagMs) => {
    const { look, add } = await filled()
    await add(`${DAY + 1_000}-0`, 'A', '{}', 'occurred_at', occurredAt)

    expect((await look()).types.rows[0]?.lag).toMatchObject({ measured: 1, maxMs: lagMs })
  })

  test('tells numbers apart that JavaScript would round to the same one', async () => {
    const { look, add } = await filled()
    const ids = ['12345678901234567890', '12345678901234567891', '"12345678901234567891"', '1.10', '9007199254740991']
    for (const [n, id] of ids.entries()) await add(n + 1, 'A', `{"user":{"id":${id}}}`)

    const { by } = await look({ by: 'payload.user.id' })
    expect(by?.rows.map(({ value, count }) => [value, count])).toEqual([
      ['12345678901234567891', 2],
      ['1.1', 1],
      ['12345678901234567890', 1],
      ['9007199254740991', 1],
    ])
    expect((await look({ by: 'user', from: '2', to: '2' })).by?.rows[0]?.value).toBe('{"id":12345678901234567891}')
  })

  test('says how old pending entries are by type, and how many are trimmed', async () => {
    const { look, raw, add } = await filled()
    const [seconds] = await raw.time()
    const hourAgo = Number(seconds) * 1_000 - 3_600_000
    for (const n of [0, 1, 2]) await add(`${hourAgo}-${n}`, n < 2 ? 'A' : 'B')
    await raw.xadd('orders', `${hourAgo}-3`, 'no', 'event')
    for (const group of ['billing', 'search', 'idle']) await raw.xgroup('CREATE', 'orders', group, '0')
    for (const group of ['billing', 'search']) await raw.xreadgroup('GROUP', group, 'c', 'STREAMS', 'orders', '>')
    await raw.xdel('orders', `${hourAgo}-0`)

    const { pending } = await look()
    expect(pending).toMatchObject({
      groups: [
        { group: 'billing', pending: 4, examined: 4, trimmed: 1 },
        { group: 'idle', pending: 0, examined: 0, trimmed: 0 },
        { group: 'search', pending: 4, examined: 4, trimmed: 1 },
      ],
      types: {
        rows: [
          { value: 'A', count: 2 },
          { value: 'B', count: 2 },
        ],
      },
      noEvents: 2,
    })
    for (const { oldestMs } of pending.types.rows) expect(Math.abs(oldestMs - 3_600_000)).toBeLessThan(30_000)
    expect((await look({ group: 'billing', maxPending: 2 })).pending.groups).toEqual([
      { group: 'billing', pending: 4, examined: 2, trimmed: 1 },
    ])
    expect((await look({ group: 'none' })).unknown).toEqual({ groups: 'there is no group "none"' })
  })

  test.each<[title: string, options: Partial<AnalyzeOptions>, read: number]>([
    ['from an id', { from: `${DAY + 2}-0` }, 8],
    ['from a time, UTC where it names no zone', { from: '2026-01-31T00:00:00.005' }, 5],
    ['to an id, all of its millisecond included', { to: `${DAY + 2}` }, 3],
    [
      'between times in another zone',
      { from: '2026-01-31T01:00:00.001+01:00', to: '2026-01-31T01:00:00.003+01:00' },
      3,
    ],
    ['before all', { to: '2020-01-01' }, 0],
    ['after all', { from: '2030-01-01' }, 0],
    ['of late', { lastMs: 60_000 }, 0],
    ['of ever', { lastMs: Number.MAX_SAFE_INTEGER }, 10],
  ])('reads a range: %s', async (_title, options, read) => {
    const { look, add } = await filled()
    for (let n = 0; n < 10; n++) await add(`${DAY + n}-0`, 'A')

    expect(await look(options)).toMatchObject({ read, entries: read, isComplete: true })
  })

  test('reads a sample: as many as asked for, about, whose estimates are those of the stream', async () => {
    const { look, raw } = await filled()
    // the second half of the time has nine of ten entries, of another type
    const script = `for n = 1, 40000 do redis.call('XADD', KEYS[1], (n <= 4000 and n * 9 or 36000 + n - 4000)..'-0', 'eventType', n <= 4000 and 'Slow' or 'Fast') end`
    await raw.eval(script, 1, 'orders')

    const { read, entries, sample, types, perMinute } = await look({ sample: 2_000 })
    expect([Math.abs(read - 2_000) <= 200, entries, perMinute]).toEqual([true, 40_000, undefined])
    expect(sample).toMatchObject({ probes: 200, margin: expect.any(Number) })
    const slow = types.rows.find(({ value }) => value === 'Slow')?.share ?? 0
    expect(Math.abs(slow - 0.1)).toBeLessThan(sample?.margin ?? 0)
    expect(await look({ sample: 40_000 })).not.toHaveProperty('sample')
  })

  test('is the same over REST, where no answer may be larger than a limit', async () => {
    const { server, look, add } = await filled()
    const rest = await startRestServer({ redisUrl: server.url, token: 't', maxReplyBytes: 20_000 })
    onTestFinished(() => rest.close())
    for (let n = 1; n <= 300; n++) await add(`${n}-0`, n % 3 ? 'A' : 'Ü', `{"a":"${'x'.repeat(n > 200 ? 3_000 : 10)}"}`)

    const { redis: _, ...here } = { redis: 0, ...(await look({ by: 'a' })) }
    const there = await analyze('orders', { redis: connectUpstash({ url: rest.url, token: 't' }), by: 'a' })
    expect({ ...there, at: here.at }).toEqual(here)
  })

  test('reads no faster than its rate', async () => {
    const { look, add } = await filled()
    for (let n = 1; n <= 60; n++) await add(`${n}-0`, 'A')
    const start = performance.now()

    expect(await look({ rate: 100 })).toMatchObject({ read: 60 })
    expect(performance.now() - start).toBeGreaterThan(300)
  })

  test('gives what it has when the signal aborts, and says that it is partial', async () => {
    const { look, add } = await filled()
    for (let n = 1; n <= 200; n++) await add(`${n}-0`, 'A')
    const stop = new AbortController()
    const onProgress = () => stop.abort()

    const analysis = await look({ signal: stop.signal, onProgress, rate: 40 })
    expect(analysis).toMatchObject({
      isComplete: false,
      stopped: 'interrupted',
      length: 200,
      types: { rows: [{ value: 'A' }] },
    })
    expect(analysis.read).toBeLessThan(200)
    expect(await look({ signal: AbortSignal.abort() })).toMatchObject({
      read: 0,
      isComplete: false,
      stopped: 'interrupted',
    })
  })

  test('gives what it has when the server is lost in the middle', async () => {
    const { look, add, server } = await filled()
    for (let n = 1; n <= 200; n++) await add(`${n}-0`, 'A')
    const onProgress = () => server.kill('SIGKILL')

    const analysis = await look({ onProgress, rate: 40 })
    expect(analysis).toMatchObject({ isComplete: false, stopped: expect.stringMatching(/^Cannot reach Redis/) })
    expect(analysis.read).toBeGreaterThan(0)
    await expect(look()).rejects.toThrow(RedisConnectionError)
  })

  test('says how many entries went before they were read', async () => {
    const { look, add, raw } = await filled()
    for (let n = 1; n <= 200; n++) await add(`${n}-0`, 'A')
    const trim = async () => void (await raw.xtrim('orders', 'MAXLEN', 50))
    let trimmed: Promise<void> | undefined
    const onProgress = () => {
      trimmed ??= trim()
    }

    const { read, missed = 0, isComplete } = await look({ onProgress, rate: 80 })
    await trimmed
    expect([isComplete, read + missed, missed > 0]).toEqual([true, 200, true])
  })

  test('of a stream that is missing or empty says so, and refuses another type', async () => {
    const { look, raw, add } = await filled()
    expect(await look({ by: 'a' })).toMatchObject({ state: 'missing', read: 0, isComplete: true })
    await add('1-0', 'A')
    await raw.xdel('orders', '1-0')
    expect(await look({ sample: 100 })).toMatchObject({
      state: 'stream',
      length: 0,
      read: 0,
      types: { rows: [], distinct: 0 },
    })
    await raw.set('orders', 'text')
    await expect(look()).rejects.toThrow(RedisReplyError)
    await expect(look()).rejects.toThrow(/WRONGTYPE.*"orders"/)
  })

  test('takes any ids there can be', async () => {
    const { look, add, raw } = await filled()
    const last = '18446744073709551615-18446744073709551615'
    await add('0-1', 'A')
    await add(last, 'A')
    await raw.xgroup('CREATE', 'orders', 'billing', '0')
    await raw.xreadgroup('GROUP', 'billing', 'c', 'STREAMS', 'orders', '>')

    expect(await look()).toMatchObject({
      read: 2,
      lastId: last,
      hours: { undated: 1 },
      pending: { groups: [{ examined: 2 }] },
    })
    expect(await look({ from: last, to: last })).toMatchObject({ read: 1 })
    expect(await look({ sample: 100, from: '0-1' })).toMatchObject({ isComplete: true })
  })

  test('does without what the server refuses to report', async () => {
    const { server, raw, add, connect } = await filled()
    await add(`${DAY}-0`, 'A')
    await raw.call('ACL', 'SETUSER', 'narrow', 'reset', '>pw', '~*', 'on', '-@all', '+xrange')
    const redis = connect(`redis://narrow:pw@${server.host}:${server.port}`)

    const analysis = await analyze('orders', { redis })
    expect(analysis).toMatchObject({ read: 1, clock: 'local', timeline: { startMs: DAY } })
    expect(Object.keys(analysis.unknown)).toEqual(['length', 'groups'])
    await expect(analyze('orders', { redis, sample: 100 })).rejects.toThrow('NOPERM')
  })

  test.each<[options: object, rule: string]>([
    [{ from: '2', to: '1' }, 'from must not be after to, got "2" and "1"'],
    [{ from: 'yesterday' }, 'from must be an entry id or a time'],
    [{ from: '2026-02-31T99:00' }, 'from must be an entry id or a time'],
    [{ from: '2026-02-30' }, 'from must be an entry id or a time'],
    [{ to: '2026-06-31T12:00+02:00' }, 'to must be an entry id or a time'],
    [{ from: '1', lastMs: 1 }, 'from and lastMs both say where to begin'],
    [{ timeZone: 'Mars/Olympus' }, 'timeZone must be one as in Europe/Berlin, got "Mars/Olympus"'],
    [{ sample: 10 }, 'sample must be >= 100, got 10'],
    [{ rate: 0 }, 'rate must be >= 1, got 0'],
    [{ top: 1.5 }, 'top must be a whole number, got 1.5'],
    [{ by: '' }, 'by must be a string that is not empty'],
    [{ fields: { key: 'a' } }, 'unknown option "key"'],
    [{ codec: {} }, 'codec must have a decode function'],
    [{ signal: 'stop' }, 'signal must be an AbortSignal, got string'],
    [{ limit: 1 }, 'unknown option "limit"'],
  ])('refuses %j', async (options, rule) => {
    const { look } = await filled()

    await expect(look(options)).rejects.toThrow(rule)
  })
})
