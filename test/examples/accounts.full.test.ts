import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { createPublisher, defineEvent, EventsTrimmedError, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import * as z from 'zod/mini'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import { watchCommands } from '../support/watch-commands.ts'

type Api = typeof import('../../examples/accounts/api.ts')
type Accounts = typeof import('../../examples/accounts/account.ts')
type Commands = typeof import('../../examples/accounts/commands.ts')

let server: PrivateRedis
let raw: Redis
let folder: string
let api: Api['handler']
let load: Accounts['load']
let saveSnapshot: Accounts['saveSnapshot']
let execute: Commands['execute']
let archive: (event?: unknown) => Promise<{ archived: number }>
let transfers: Parameters<typeof poll>[0]
let redis: ReturnType<typeof connectIoredis>
let close: () => Promise<void>

beforeAll(async () => {
  server = await startRedisServer()
  folder = await mkdtemp(join(tmpdir(), 'millrace-archive-'))
  Object.assign(process.env, {
    REDIS_URL: server.url,
    ARCHIVE_FOLDER: folder,
    ARCHIVE_AFTER_DAYS: '0',
    POWERTOOLS_METRICS_DISABLED: 'true',
  })
  ;({ handler: api } = await import('../../examples/accounts/api.ts'))
  ;({ load, saveSnapshot } = await import('../../examples/accounts/account.ts'))
  ;({ execute } = await import('../../examples/accounts/commands.ts'))
  ;({ handler: archive } = await import('../../examples/accounts/archive.ts'))
  ;({ transfers } = await import('../../examples/accounts/consumer.ts'))
  const connections = await import('../../examples/accounts/redis.ts')
  redis = connectIoredis(server.url)
  raw = new Redis(server.url)
  close = async () => {
    connections.client.disconnect()
    await connections.redis.close()
    await redis.close()
  }
})
afterAll(async () => {
  raw.disconnect()
  await close()
  await server.stop()
  await rm(folder, { recursive: true })
})
beforeEach(() => raw.flushall())

const ask = (command: object) => api({ body: JSON.stringify(command) })
const open = (accountId: string) => execute({ type: 'open', accountId, requestId: 'open', owner: 'o' })
const deposit = (accountId: string, cents: number, requestId = `d-${cents}`) =>
  execute({ type: 'deposit', accountId, requestId, cents })
const balanceOf = async (accountId: string) => (await load(accountId)).cents

test('a request is carried out once, and its id is for no other', async () => {
  await open('a')
  const paid = { type: 'deposit', accountId: 'a', requestId: 'r-1', cents: 100 }

  expect(await Promise.all([ask(paid), ask(paid), ask(paid)])).toMatchObject([
    { statusCode: 200 },
    { statusCode: 200 },
    { statusCode: 200 },
  ])
  expect(await ask({ ...paid, cents: 101 })).toMatchObject({
    statusCode: 409,
    body: '{"outcome":"another request has this id"}',
  })
  expect(await balanceOf('a')).toBe(100n)
  const spent = { type: 'withdraw', accountId: 'a', requestId: 'r-2', cents: 100 }
  // sent again after it left nothing
  expect(await Promise.all([ask(spent), ask(spent)])).toMatchObject([{ statusCode: 200 }, { statusCode: 200 }])
  expect(await ask(spent)).toMatchObject({ statusCode: 200 })
  expect(await api({ queryStringParameters: { accountId: 'a' } })).toMatchObject({
    statusCode: 200,
    body: '{"accountId":"a","cents":"0","version":3}',
  })
})

test.each([0, -1, 1.5, 2 ** 53, '5', null, 1e300])('an amount of %s is refused', async (cents) => {
  await open('a')

  expect(await ask({ type: 'deposit', accountId: 'a', requestId: 'r', cents })).toMatchObject({ statusCode: 400 })
  expect(await raw.xlen('accounts')).toBe(2)
})

test.each([
  '9007199254740991.4',
  '4503599627370497.5',
  '1.0000000000000001',
  '0.99999999999999999',
  '1.0',
  '1e2',
  '-0',
])('an amount of %s is refused, though a double of it may be whole', async (cents) => {
  await open('a')
  const body = `{"type":"deposit","accountId":"a","requestId":"r","cents":${cents}}`

  expect(await api({ body })).toMatchObject({ statusCode: 400 })
  expect(await raw.xlen('accounts')).toBe(2)
})

test('the amount of a command that changes is the one that was checked', async () => {
  await open('a')
  let looks = 0
  const sly = { type: 'deposit', accountId: 'a', requestId: 'r', cents: 0 } as const
  Object.defineProperty(sly, 'cents', { get: () => (looks++ === 0 ? 1 : 0.5), enumerable: true })

  expect(await execute(sly)).toBe('done')
  expect(await balanceOf('a')).toBe(1n)
  await expect(execute({ ...sly, requestId: 'r-2' })).rejects.toThrow(z.core.$ZodError)
})

test.each([
  '',
  '{',
  '[]',
  '{"type":"close"}',
  '{"type":"open","accountId":"a:b","requestId":"r","owner":"o"}',
  '{"type":"deposit","accountId":"a","requestId":"r","cents":1,"more":1}',
])('a body of %s is refused', async (body) => {
  expect(await api({ body })).toMatchObject({ statusCode: 400 })
  expect(await raw.dbsize()).toBe(0)
})

test('of 20 withdrawals at once as many succeed as there is money for', async () => {
  await open('a')
  await deposit('a', 100)

  const outcomes = await Promise.all(
    Array.from({ length: 20 }, (_, n) => execute({ type: 'withdraw', accountId: 'a', requestId: `w-${n}`, cents: 30 })),
  )

  expect([
    outcomes.filter((outcome) => outcome === 'done').length,
    outcomes.filter((outcome) => outcome === 'overdraft').length,
  ]).toEqual([3, 17])
  expect(await balanceOf('a')).toBe(10n)
})

test('a transfer to nobody, or to who has no room, comes back', async () => {
  for (const accountId of ['a', 'b']) await open(accountId)
  await deposit('a', 100)
  await deposit('b', Number.MAX_SAFE_INTEGER)
  const transfer = (to: string) => execute({ type: 'transfer', accountId: 'a', requestId: `t-${to}`, to, cents: 10 })

  expect(await Promise.all(['nobody', 'b', 'a'].map(transfer))).toEqual(['done', 'done', 'to itself'])
  expect(await balanceOf('a')).toBe(80n)
  expect(await poll(transfers, { redis })).toMatchObject({ deadLettered: 0, retried: 0 })
  expect([await balanceOf('a'), await balanceOf('b')]).toEqual([100n, BigInt(Number.MAX_SAFE_INTEGER)])
  expect(await deposit('b', 1)).toBe('too much')
})

test('an older schema is lifted: deposits of version 1 had decimal text', async () => {
  await open('a')
  const Old = defineEvent('Deposited', { payload: z.object({ amount: z.string() }) })
  const at = { aggregateType: 'account', aggregateId: 'a', expectedVersion: 1 }
  await createPublisher({ stream: 'accounts', redis }).publish(Old, { amount: '12.34' }, at)

  expect(await balanceOf('a')).toBe(1_234n)
  expect(await deposit('a', 1)).toBe('done')
})

test('after a million events a balance is two requests and less than a hundred entries', {
  timeout: 90_000,
}, async () => {
  const fill = `
    for n = 1, ARGV[1] do
      local id = redis.call('XADD', KEYS[1], '*', 'eventId', 'e-' .. n, 'eventType', 'Deposited', 'schemaVersion', '2', 'aggregateType', 'account', 'aggregateId', 'a', 'aggregateVersion', n, 'payload', '{"cents":1}')
      redis.call('ZADD', KEYS[2], n, id)
    end`
  await raw.config('SET', 'lua-time-limit', '60000')
  await raw.eval(fill, 2, 'accounts', '{accounts}::aggregate::account:a', 1_000_000)
  await raw.hset('{accounts}:snapshot:1:a', { version: '999900', cents: '999900' })
  expect(await deposit('a', 1, 'first')).toBe('done')
  for (let n = 0; n < 40; n++) await deposit('a', 1, `more-${n}`)
  const watch = await watchCommands(server.url)

  expect(await balanceOf('a')).toBe(1_000_041n)

  const seen = await watch.seen()
  expect(seen.filter(([name]) => name === 'hgetall' || name === 'evalsha')).toHaveLength(2)
  expect(seen.filter(([name]) => name === 'xrange').length).toBeLessThanOrEqual(100)
})

test('what is archived leaves the stream; balances and requests are as before', async () => {
  for (const accountId of ['a', 'b']) await open(accountId)
  for (let n = 1; n <= 120; n++) await deposit(n % 2 ? 'a' : 'b', n)
  await execute({ type: 'transfer', accountId: 'a', requestId: 't', to: 'b', cents: 5 })
  await poll(transfers, { redis })
  await deposit('a', 1_000)
  const entries = await raw.xrange('accounts', '-', '+')
  const before = [await balanceOf('a'), await balanceOf('b')]

  // the transfers have not read the last ones
  const { archived } = await archive()
  expect(await archive()).toEqual({ archived: 0 })

  expect(archived).toBeGreaterThan(200)
  const left = await raw.xrange('accounts', '-', '+')
  const lines = (
    await Promise.all((await readdir(folder)).sort().map((name) => readFile(join(folder, name), 'utf8')))
  ).join('')
  expect([
    ...lines
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown),
    ...left,
  ]).toEqual(entries)
  expect([await balanceOf('a'), await balanceOf('b')]).toEqual(before)
  // what they asked for is in the archive: the same or another
  expect(await deposit('a', 1)).toBe('archived')
  expect(await execute({ type: 'withdraw', accountId: 'a', requestId: 'd-7', cents: 1 })).toBe('archived')
  expect(await balanceOf('a')).toBe(before[0])
  await raw.del('{accounts}:snapshot:1:a')
  await expect(balanceOf('a')).rejects.toThrow(EventsTrimmedError)
  await expect(deposit('a', 2_000)).rejects.toThrow(EventsTrimmedError)
})

test('a slow process puts no older snapshot in the place of a newer one', async () => {
  await open('a')
  await deposit('a', 100)
  const older = await load('a')
  await deposit('a', 50)
  await saveSnapshot(await load('a'))
  await saveSnapshot(older)

  expect(await load('a')).toMatchObject({ snapshotVersion: 3, cents: 150n })
})

test.each([
  ['of events that are no longer known', { version: '9', cents: '900' }],
  ['without a version', { version: '', cents: '900' }],
  ['of version 0', { version: '0', cents: '900' }],
  ['of a version that is no number', { version: '1e0', cents: '900' }],
  ['without cents', { version: '2' }],
  ['of a part of a cent', { version: '2', cents: '9.5' }],
])('a snapshot %s is an error, never a wrong balance', async (_, snapshot) => {
  await open('a')
  await deposit('a', 100)
  await raw.hset('{accounts}:snapshot:1:a', snapshot)

  await expect(balanceOf('a')).rejects.toThrow(Error)
  await expect(deposit('a', 1)).rejects.toThrow(Error)
  expect(await raw.xlen('accounts')).toBe(4)
})

test('what another group of the stream has not read, or not settled, stays in it', async () => {
  await open('a')
  await deposit('a', 100)
  await raw.xgroup('CREATE', 'accounts', 'audit', '0')
  await poll(transfers, { redis })

  expect(await archive()).toEqual({ archived: 0 })
  await raw.xreadgroup('GROUP', 'audit', 'auditor', 'STREAMS', 'accounts', '>')
  expect(await archive()).toEqual({ archived: 0 })
})

test.each(['', ' ', '-1', 'Infinity', '0x1', 'thirty'])('ARCHIVE_AFTER_DAYS of %j is refused', async (days) => {
  vi.resetModules()
  vi.stubEnv('ARCHIVE_AFTER_DAYS', days)

  await expect(import('../../examples/accounts/archive.ts')).rejects.toThrow('ARCHIVE_AFTER_DAYS must be')
  vi.unstubAllEnvs()
})

test('what the transfers have not settled stays in the stream', async () => {
  expect(await archive()).toEqual({ archived: 0 })
  await open('a')
  await deposit('a', 100)
  await execute({ type: 'transfer', accountId: 'a', requestId: 't', to: 'b', cents: 5 })

  // a group that is lost has what it needs read again, by a poller that makes it anew
  expect(await archive()).toEqual({ archived: 0 })
  await raw.xgroup('CREATE', 'accounts', 'transfers', '0')
  expect(await archive()).toEqual({ archived: 0 })
  await raw.xreadgroup('GROUP', 'transfers', 'poller-0', 'STREAMS', 'accounts', '>')
  expect(await archive()).toEqual({ archived: 0 })
  expect(await raw.xlen('accounts')).toBe(6)
})
