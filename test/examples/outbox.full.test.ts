import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Publisher } from 'millrace'
import { createPublisher, PublishFailedError, RedisConnectionError } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { lambdaContext } from '../../demo/schedule.ts'
import type { Database } from '../../examples/outbox/database.ts'
import { type PrivatePostgres, startPostgres } from '../../tools/postgres-server.ts'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import { captureOutput, readMetricLine } from '../support/metric-lines.ts'
import { differences, migrate, readStream, readTable } from '../systems/outbox/rows.ts'

const VICTIM = join(import.meta.dirname, '../systems/outbox/victim.ts')
const STEPS = ['read', 'between', 'published', 'marked', 'committed']
const START_MS = 60_000
const NO_LIMIT = { rows: 500, forMs: 60_000 }
const HOUR_MS = 3_600_000

let server: PrivateRedis
let postgres: PrivatePostgres
let raw: Redis
let system: typeof import('../../examples/outbox/relay.ts')
let databases: typeof import('../../examples/outbox/database.ts')
let connections: typeof import('../../examples/outbox/redis.ts')
let api: typeof import('../../examples/outbox/api.ts')
let onPostgres: Database

beforeAll(async () => {
  ;[server, postgres] = await Promise.all([startRedisServer(), startPostgres()])
  raw = new Redis(server.url)
  vi.stubEnv('REDIS_URL', server.url)
  vi.stubEnv('DATABASE_URL', 'pglite:')
  vi.stubEnv('KEEP_HOURS', '1')
  system = await import('../../examples/outbox/relay.ts')
  databases = await import('../../examples/outbox/database.ts')
  connections = await import('../../examples/outbox/redis.ts')
  api = await import('../../examples/outbox/api.ts')
  onPostgres = await databases.connect(postgres.url)
  for (const database of [databases.database, onPostgres]) await migrate(database)
}, START_MS)
beforeEach(async () => {
  await raw.flushall()
  for (const database of [databases.database, onPostgres]) await database.script('truncate outbox, orders')
})
afterAll(async () => {
  vi.unstubAllEnvs()
  raw.disconnect()
  await Promise.all([connections.redis.close(), databases.database.close(), onPostgres.close()])
  await Promise.all([server.stop(), postgres.stop()])
})

interface NewRow {
  readonly id?: string
  readonly type?: string
  readonly version?: number
  readonly aggregate?: string
  readonly payload?: string
}

const PAYLOAD = '{"orderId":"a"}'

async function insert(database: Database, rows: readonly NewRow[]): Promise<void> {
  await database.transaction(async (query) => {
    for (const {
      id = crypto.randomUUID(),
      type = 'OrderCancelled',
      version = 1,
      aggregate = 'a',
      payload = PAYLOAD,
    } of rows)
      await query(
        `insert into outbox (event_id, event_type, schema_version, aggregate_type, aggregate_id, payload)
          values ($1, $2, $3, 'order', $4, $5)`,
        [id, type, version, aggregate, payload],
      )
  })
}

const relay = (database: Database, publisher: Publisher = system.orders, limits = NO_LIMIT, holdMs = HOUR_MS) =>
  system.relayBatch(database, publisher, limits, holdMs)

const idsInStream = async () => (await readStream(raw)).map(({ eventId }) => eventId)
const reasons = async (database: Database) =>
  (await readTable(database)).flatMap(({ event_id, reason }) => (reason === null ? [] : [`${event_id}: ${reason}`]))

/** A publisher that does something before each request. */
function publisherThat(first: (rows: number) => Promise<void> | void): Publisher {
  return {
    ...system.orders,
    publishMany: (async (publications: never[]) => {
      await first(publications.length)
      return system.orders.publishMany(publications)
    }) as Publisher['publishMany'],
  }
}

const ENGINES = [
  { engine: 'PGlite', database: () => databases.database },
  { engine: 'PostgreSQL', database: () => onPostgres },
]

describe.each(ENGINES)('on $engine', ({ database }) => {
  test('an order and its events are written together and published once, in their order', async () => {
    const ask = (command: Parameters<typeof api.execute>[1]) => api.execute(database(), command)
    for (const orderId of ['a', 'b']) expect(await ask({ type: 'place', orderId, cents: 100 })).toBe('done')
    expect(await ask({ type: 'place', orderId: 'a', cents: 1 })).toBe('placed already')
    expect(await ask({ type: 'pay', orderId: 'a' })).toBe('done')
    expect(await ask({ type: 'pay', orderId: 'a' })).toBe('not open')
    expect(await ask({ type: 'cancel', orderId: 'b' })).toBe('done')

    expect(await relay(database())).toMatchObject({ read: 4, published: 4, duplicates: 0, setAside: 0, isBusy: false })
    expect(await relay(database())).toMatchObject({ read: 0, published: 0 })
    expect(await differences(database(), raw)).toEqual([])
    expect((await readStream(raw)).map(({ type, aggregateId }) => `${aggregateId} ${type}`)).toEqual([
      'a OrderPlaced',
      'b OrderPlaced',
      'a OrderPaid',
      'b OrderCancelled',
    ])
  })

  test('what cannot be published is set aside with its reason; only its aggregate waits', async () => {
    const large = JSON.stringify({ orderId: 'a', more: 'x'.repeat(1_000_001) })
    const poison = [
      { id: 'no-json', aggregate: '1', payload: '{"orderId":' },
      { id: 'too-large', aggregate: '2', payload: large },
      { id: 'no-type', aggregate: '3', type: 'OrderEaten' },
      { id: 'no-version', aggregate: '4', version: 2 },
      { id: 'no-fit', aggregate: '5', payload: '{"orderId":"secret €"}' },
      { id: 'no-double', aggregate: '6', payload: '{"orderId":"a","n":9007199254740993}' },
      { id: 'infinite', aggregate: '7', payload: '{"orderId":"a","n":1e999}' },
      { id: 'deep', aggregate: '8', payload: `{"orderId":"a","n":${'['.repeat(400_000)}${']'.repeat(400_000)}}` },
    ]
    const later = poison.map(({ aggregate }) => ({ id: `after-${aggregate}`, aggregate }))
    await insert(database(), [{ id: 'first', aggregate: '1' }, ...poison, { id: 'other', aggregate: '9' }, ...later])

    expect(await relay(database())).toMatchObject({ read: 18, published: 2, setAside: 8, failure: undefined })
    expect(await idsInStream()).toEqual(['first', 'other'])
    expect(await relay(database())).toMatchObject({ read: 0 })
    expect(await reasons(database())).toEqual([
      'no-json: Payload must be JSON',
      'too-large: Payload must be at most 1000000 bytes',
      'no-type: There is no event OrderEaten of version 1',
      'no-version: There is no event OrderCancelled of version 2',
      'no-fit: Payload of "OrderCancelled" must fit its schema, which refuses orderId',
      'no-double: Numbers of the payload must be at most 2^53 - 1',
      'infinite: Numbers of the payload must be at most 2^53 - 1',
      'deep: Payload must be JSON',
    ])
  })

  test('rows behind one that was set aside come once it is put back, in their order', async () => {
    await insert(database(), [{ id: '1', payload: 'x' }, { id: '2' }, { id: '3' }])
    await relay(database())
    await database().script(
      `update outbox set payload = '${PAYLOAD}', set_aside_at = null, reason = null where event_id = '1'`,
    )

    expect(await relay(database())).toMatchObject({ published: 3 })
    expect(await differences(database(), raw)).toEqual([])
  })

  test('rows behind one that was set aside do not wait for ever', async () => {
    await insert(database(), [{ id: '1', payload: 'x' }, { id: '2' }])
    await relay(database())
    expect(await relay(database(), system.orders, NO_LIMIT, 0)).toMatchObject({ published: 1 })

    expect(await idsInStream()).toEqual(['2'])
    expect(await reasons(database())).toHaveLength(1)
  })

  test('where the server refuses a row, none overtakes it, and what was published is marked', async () => {
    await insert(database(), [
      { id: 'a-1' },
      { id: 'a-2' },
      { id: 'b-1', aggregate: 'b' },
      { id: 'b-2', aggregate: 'b' },
    ])
    await raw.lpush('{orders}::published::a-1', 'no marker')

    const batch = await relay(database())

    expect(batch).toMatchObject({ published: 1, setAside: 0, failure: expect.any(PublishFailedError) })
    expect(await idsInStream()).toEqual(['b-1'])
    await raw.flushall() // the marker of b-1, too: its mark is in the table
    expect(await relay(database())).toMatchObject({ published: 3, failure: undefined })
    expect(await idsInStream()).toEqual(['a-1', 'b-2', 'a-2'])
  })

  test('where the server has no memory or is not there, nothing is set aside', async () => {
    await insert(database(), [{}, {}])
    await raw.config('SET', 'maxmemory', '1')
    expect(await relay(database())).toMatchObject({
      published: 0,
      setAside: 0,
      failure: expect.any(PublishFailedError),
    })
    await raw.config('SET', 'maxmemory', '0')
    const nobody = connectIoredis('redis://127.0.0.1:1')
    onTestFinished(() => nobody.close())
    const lost = createPublisher({ stream: 'orders', redis: nobody })
    expect(await relay(database(), lost)).toMatchObject({ setAside: 0, failure: expect.any(RedisConnectionError) })
    await nobody.close()
    expect(await relay(database(), lost)).toMatchObject({ setAside: 0, failure: expect.any(Error) })

    expect(await relay(database())).toMatchObject({ published: 2 })
    expect(await differences(database(), raw)).toEqual([])
  })

  test('a batch ends in its time, with marks for what was published', async () => {
    await insert(
      database(),
      Array.from({ length: 20 }, () => ({})),
    )
    const batch = await relay(
      database(),
      publisherThat(() => sleep(30)),
      { rows: 500, forMs: 100 },
    )

    expect(batch).toMatchObject({ read: 20, failure: undefined })
    expect(batch.published).toBeGreaterThan(0)
    expect(batch.published).toBeLessThan(20)
    await relay(database())
    expect(await differences(database(), raw)).toEqual([])
  })

  test('a batch is bounded in bytes, and reads a row at least', async () => {
    const payload = JSON.stringify({ orderId: 'a', more: 'x'.repeat(900_000) })
    await insert(
      database(),
      Array.from({ length: 24 }, (_, n) => ({ aggregate: `${n}`, payload })),
    )

    const { read } = await relay(database())

    expect(read).toBeGreaterThan(10)
    expect(read).toBeLessThan(20)
    await relay(database())
    expect(await differences(database(), raw)).toEqual([])
  })
})

async function runVictim(DATABASE_URL: string, DIE_AT: string): Promise<unknown> {
  const env = { ...process.env, DATABASE_URL, DIE_AT, REDIS_URL: server.url }
  const child = fork(VICTIM, { env, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const [status, signal] = (await once(child, 'exit')) as [number | null, string | null]
  return signal ?? status
}

const thirtyRows = () => Array.from({ length: 30 }, (_, n) => ({ aggregate: `${n % 4}` }))

test.each(STEPS)('a relay that is killed at the step %s publishes each row once, in order', async (step) => {
  await insert(onPostgres, thirtyRows())

  expect(await runVictim(postgres.url, step)).toBe('SIGKILL')
  expect(await runVictim(postgres.url, 'never')).toBe(0)

  expect(await differences(onPostgres, raw)).toEqual([])
})

test('on PGlite, a relay that is killed at every step publishes each row once', {
  timeout: 180_000,
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-outbox-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  /** The folder is one process's at a time. */
  const within = async <Result>(work: (database: Database) => Promise<Result>) => {
    const database = await databases.connect(`pglite:${folder}`)
    try {
      return await work(database)
    } finally {
      await database.close()
    }
  }
  await within(async (database) => {
    await migrate(database)
    await insert(database, thirtyRows())
  })

  for (const step of STEPS) expect(await runVictim(`pglite:${folder}`, step)).toBe('SIGKILL')
  expect(await runVictim(`pglite:${folder}`, 'never')).toBe(0)

  expect(await within((database) => differences(database, raw))).toEqual([])
})

describe('with several connections', () => {
  /** A transaction that inserts rows of an aggregate, and ends when it is asked to. */
  async function open(rows: readonly NewRow[], then: readonly NewRow[] = []) {
    const database = await databases.connect(postgres.url)
    onTestFinished(() => database.close())
    const commit = Promise.withResolvers<boolean>()
    const inserted = Promise.withResolvers<void>()
    const within = (query: Parameters<Parameters<Database['transaction']>[0]>[0]): Database => ({
      ...database,
      transaction: (work) => work(query),
    })
    const ended = database
      .transaction(async (query) => {
        await insert(within(query), rows)
        inserted.resolve()
        if (!(await commit.promise)) throw new Error('rolled back')
        await insert(within(query), then)
      })
      .catch((error: Error) => error)
    const end = (how: boolean) => {
      commit.resolve(how)
      return ended
    }
    return { inserted: inserted.promise, commit: () => end(true), rollBack: () => end(false) }
  }

  test('a row that is committed late is published late, and gaps are none', async () => {
    const [late, gone] = [await open([{ id: 'late', aggregate: 'a' }]), await open([{ id: 'gone', aggregate: 'b' }])]
    await Promise.all([late.inserted, gone.inserted])
    await insert(onPostgres, [{ id: 'soon', aggregate: 'c' }])
    expect(await relay(onPostgres)).toMatchObject({ published: 1 })
    await Promise.all([late.commit(), gone.rollBack()])
    await relay(onPostgres)

    expect(await idsInStream()).toEqual(['soon', 'late'])
    expect(await differences(onPostgres, raw)).toEqual([])
  })

  test('writers of an aggregate wait for each other: its numbers are in the order of commits', async () => {
    const first = await open([{ id: 'first' }], [{ id: 'second' }])
    await first.inserted
    const other = await open([{ id: 'third' }])
    let isInserted = false
    void other.inserted.then(() => {
      isInserted = true
    })
    const isBlocked = () =>
      onPostgres.transaction((query) => query(`select from pg_locks where locktype = 'advisory' and not granted`))
    await expect.poll(isBlocked, { timeout: 10_000 }).toHaveLength(1)
    await relay(onPostgres)
    expect([isInserted, await idsInStream()]).toEqual([false, []])
    await first.commit()
    await other.inserted
    await relay(onPostgres)
    expect(await idsInStream()).toEqual(['first', 'second'])
    await other.commit()
    await relay(onPostgres)

    expect(await idsInStream()).toEqual(['first', 'second', 'third'])
    expect((await readTable(onPostgres)).map(({ event_id }) => event_id)).toEqual(['first', 'second', 'third'])
  })

  test('a transaction that is open elsewhere holds up no other aggregate', async () => {
    const other = await open([{ aggregate: 'b' }])
    await other.inserted
    await insert(onPostgres, [{ id: '1' }, { id: '2' }])

    expect(await relay(onPostgres)).toMatchObject({ published: 2 })
    await other.rollBack()
  })

  test('a transaction of 20,000 aggregates takes no more locks than the server has', async () => {
    await onPostgres.script(`insert into outbox (event_type, aggregate_type, aggregate_id, payload)
      select 'OrderCancelled', 'order', n::text, '{"orderId":"a"}' from generate_series(1, 20000) n`)

    expect(await relay(onPostgres)).toMatchObject({ read: 500, published: 500 })
  })

  test('one of two relays is at work', async () => {
    await insert(onPostgres, [{ id: '1' }, { id: '2' }])
    const second = await databases.connect(postgres.url)
    onTestFinished(() => second.close())
    const beside: unknown[] = []
    const publisher = publisherThat(async () => void beside.push(await relay(second)))

    expect(await relay(onPostgres, publisher)).toMatchObject({ published: 2, isBusy: false })
    expect(beside).toMatchObject([{ read: 0, isBusy: true }, { isBusy: true }])
  })

  test('a relay that lost its connection while it published adds nothing to what its successor did', async () => {
    const second = await databases.connect(postgres.url)
    onTestFinished(() => second.close())
    await insert(onPostgres, [{ id: '1' }, { id: '2' }])
    let isFirst = true
    const publisher = publisherThat(async () => {
      if (!isFirst) return
      isFirst = false
      await second.script(`select pg_terminate_backend(pid) from pg_stat_activity
        where pid <> pg_backend_pid() and state = 'idle in transaction'`)
      await insert(second, [{ id: '3' }])
      await vi.waitFor(async () => expect(await relay(second)).toMatchObject({ published: 3 }), { timeout: 10_000 })
    })

    await expect(relay(onPostgres, publisher)).rejects.toThrow()
    expect(await differences(onPostgres, raw)).toEqual([])
  })

  test('a relay that hangs lets go', async () => {
    const [timeout] = await onPostgres.transaction((query) =>
      query<Record<string, string>>('show idle_in_transaction_session_timeout'),
    )
    expect(timeout).toEqual({ idle_in_transaction_session_timeout: '30s' })
  })
})

const metricsOf = (printed: readonly string[]) =>
  readMetricLine(printed.findLast((line) => line.includes('CloudWatchMetrics'))).metrics

describe('its function', () => {
  afterEach(() => void vi.restoreAllMocks())

  test('relays all, reports what waits and is set aside, and removes what was published long ago', async () => {
    const { database } = databases
    await insert(
      database,
      Array.from({ length: 1_200 }, (_, n) => ({ aggregate: `${n}` })),
    )
    await insert(database, [
      { id: 'poison', aggregate: 'p', payload: 'x' },
      { id: 'behind', aggregate: 'p' },
    ])
    const printed = captureOutput()
    const said = await system.handler({}, lambdaContext('relay'))

    expect(said).toMatchObject({ batches: 3, published: 1_200, setAside: 1, waiting: 1, inAside: 1 })
    const metrics = metricsOf(printed)
    expect(metrics).toMatchObject({ Batches: 3, Published: 1_200, Duplicates: 0, SetAside: 1, Waiting: 1 })
    expect(metrics.Lag).toBeGreaterThan(0)
    expect(metrics.OldestWaiting).toBeGreaterThan(0)
    await database.script(`update outbox set published_at = published_at - interval '59 minutes' where seq % 2 = 0;
      update outbox set published_at = published_at - interval '61 minutes' where seq % 2 = 1`)
    await database.script(`update outbox set created_at = created_at - interval '9 days'`)
    await system.handler({}, lambdaContext('relay'))

    const left = await readTable(database)
    expect(left.filter(({ entry_id }) => entry_id !== null)).toHaveLength(600)
    expect(left.filter(({ entry_id }) => entry_id === null).map(({ event_id }) => event_id)).toEqual([
      'poison',
      'behind',
    ])
  })

  test('fails with what the server refused, after its metrics, and goes on the next time', async () => {
    const { database } = databases
    await insert(database, [{ id: 'a' }, { id: 'b', aggregate: 'b' }])
    await raw.lpush('{orders}::published::a', 'no marker')
    const printed = captureOutput()
    await expect(system.handler({}, lambdaContext('relay'))).rejects.toThrow(PublishFailedError)

    expect(metricsOf(printed)).toMatchObject({ Published: 1, Waiting: 1 })
    await raw.del('{orders}::published::a')
    expect(await system.handler({}, lambdaContext('relay'))).toMatchObject({ published: 1 })
    expect(await differences(database, raw)).toEqual([])
  })

  test('waits for new rows as long as LISTEN_MS says', async () => {
    vi.resetModules()
    vi.stubEnv('DATABASE_URL', postgres.url)
    vi.stubEnv('LISTEN_MS', '3000')
    vi.stubEnv('POWERTOOLS_METRICS_DISABLED', 'true')
    const { handler } = await import('../../examples/outbox/relay.ts')
    const own = await import('../../examples/outbox/redis.ts')
    const { database } = await import('../../examples/outbox/database.ts')
    onTestFinished(async () => {
      vi.stubEnv('POWERTOOLS_METRICS_DISABLED', 'false')
      await Promise.all([own.redis.close(), database.close()])
    })
    const running = handler({}, lambdaContext('relay'))
    await insert(onPostgres, [{ id: '1' }])
    await vi.waitFor(async () => expect(await idsInStream()).toEqual(['1']), 10_000)
    await insert(onPostgres, [{ id: '2' }])

    expect(await running).toMatchObject({ batches: 2, published: 2 })
    expect(await differences(onPostgres, raw)).toEqual([])
    expect(await handler({}, lambdaContext('relay', 15_000))).toMatchObject({ batches: 0 })
  })

  test('takes commands, and refuses what is none', async () => {
    const post = async (body: unknown) => {
      const { statusCode, body: answer } = await api.handler({
        body: typeof body === 'string' ? body : JSON.stringify(body),
      })
      return [statusCode, JSON.parse(answer)]
    }

    expect(await post({ type: 'place', orderId: 'a', cents: 1 })).toEqual([200, { outcome: 'done' }])
    expect(await post({ type: 'place', orderId: 'a', cents: 1 })).toEqual([409, { outcome: 'placed already' }])
    expect(await post({ type: 'cancel', orderId: 'b' })).toEqual([409, { outcome: 'not open' }])
    for (const wrong of [
      '',
      '{',
      {},
      { type: 'pay' },
      { type: 'place', orderId: 'a', cents: 1.5 },
      { type: 'pay', orderId: "'" },
    ])
      expect((await post(wrong))[0]).toBe(400)
    const encoded = Buffer.from(JSON.stringify({ type: 'pay', orderId: 'a' })).toString('base64')
    expect(await api.handler({ body: encoded, isBase64Encoded: true })).toMatchObject({ statusCode: 200 })
  })
})

test('the relay and the api work under the rights that the README gives them', async () => {
  const readme = readFileSync(join(import.meta.dirname, '../../examples/outbox/README.md'), 'utf8')
  const [, access = ''] = /^relay {2}(.+)$/m.exec(readme) ?? []
  const grants = /```sql\n(grant [^`]+)```/.exec(readme)?.[1] ?? ''
  await raw.call('ACL', 'SETUSER', 'relay', 'reset', 'on', '>p', ...(access.match(/\([^)]*\)|\S+/g) ?? []))
  await onPostgres.script(`create role relay login; create role api login; ${grants}`)
  const urlOf = (user: string) => postgres.url.replace('postgres@', `${user}@`)
  const [ofApi, ofRelay] = await Promise.all(['api', 'relay'].map((user) => databases.connect(urlOf(user))))
  vi.resetModules()
  vi.stubEnv('REDIS_URL', server.url.replace('redis://', 'redis://relay:p@'))
  vi.stubEnv('DATABASE_URL', urlOf('relay'))
  vi.stubEnv('POWERTOOLS_METRICS_DISABLED', 'true')
  const { handler } = await import('../../examples/outbox/relay.ts')
  const own = await import('../../examples/outbox/redis.ts')
  const { database } = await import('../../examples/outbox/database.ts')
  onTestFinished(() => void Promise.all([own.redis.close(), database.close(), ofApi?.close(), ofRelay?.close()]))
  for (const type of ['place', 'pay'] as const)
    expect(await api.execute(ofApi as Database, { type, orderId: 'a', cents: 1 } as never)).toBe('done')
  await onPostgres.script(`insert into outbox (event_type, aggregate_type, aggregate_id, payload, created_at)
    values ('OrderCancelled', 'order', 'b', 'x', now()), ('OrderCancelled', 'order', 'c', '{"orderId":"c"}', now())`)
  const context = lambdaContext('relay')

  expect(await handler({}, context)).toMatchObject({ published: 3, setAside: 1, inAside: 1 })
  await onPostgres.script(`update outbox set published_at = published_at - interval '2 hours'`)
  await handler({}, context)
  expect(await readTable(onPostgres)).toHaveLength(1)
})

test('what Redis lost is published again once its marks are taken off', async () => {
  const { database } = databases
  await insert(database, [
    { id: '1', aggregate: 'a' },
    { id: '2', aggregate: 'b' },
    { id: '3', aggregate: 'c' },
  ])
  await relay(database)
  const lost = (await readStream(raw)).find(({ eventId }) => eventId === '2')
  await raw.xdel('orders', lost?.entryId ?? '')
  await raw.del('{orders}::published::2')
  await database.script('update outbox set published_at = null')

  expect(await relay(database)).toMatchObject({ published: 3, duplicates: 2 })
  expect(await differences(database, raw)).toEqual([])
})

test('names of any characters are published as they are', async () => {
  const names = ['a b\n"ü', '::', '{x}', "'; drop table outbox; --", '\u{1f600}', ' ', '\\', '%s', 'x'.repeat(200)]
  await insert(
    databases.database,
    names.map((name) => ({ id: name, aggregate: name })),
  )

  expect(await relay(databases.database)).toMatchObject({ published: names.length, setAside: 0 })
  expect(await idsInStream()).toEqual(names)
})
