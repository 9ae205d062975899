import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { poll } from 'millrace'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'

const README = join(import.meta.dirname, '../../examples/accounts/README.md')
const TEST_MS = 120_000
/** Commands of the archive's own client in one run of this size: more must be tried than there are. */
const LEAST_STEPS = 8

let server: PrivateRedis
let raw: Redis
let folder: string
let closers: (() => Promise<void>)[]

beforeEach(async () => {
  server = await startRedisServer()
  raw = new Redis(server.url)
  folder = await mkdtemp(join(tmpdir(), 'millrace-archive-'))
  closers = []
  vi.stubEnv('ARCHIVE_FOLDER', folder)
  vi.stubEnv('ARCHIVE_AFTER_DAYS', '0')
  vi.stubEnv('POWERTOOLS_METRICS_DISABLED', 'true')
})
afterEach(async () => {
  vi.unstubAllEnvs()
  raw.disconnect()
  for (const close of closers) await close()
  await server.stop()
  await rm(folder, { recursive: true })
})

type System = Awaited<ReturnType<typeof loadFor>>

/** The modules read the environment. */
async function loadFor(url: string) {
  vi.resetModules()
  vi.stubEnv('REDIS_URL', url)
  const { load } = await import('../../examples/accounts/account.ts')
  const { handler: api } = await import('../../examples/accounts/api.ts')
  const { handler: archive } = await import('../../examples/accounts/archive.ts')
  const { execute, settleTransfer } = await import('../../examples/accounts/commands.ts')
  const { transfers } = await import('../../examples/accounts/consumer.ts')
  const { client, redis } = await import('../../examples/accounts/redis.ts')
  closers.push(async () => {
    client.disconnect()
    await redis.close()
  })
  return { load, api, archive, execute, settleTransfer, transfers, client, redis }
}

/** Two accounts, a transfer that has arrived, and a deposit that keeps the newest entries in the stream. */
async function fill({ execute, transfers, redis }: System): Promise<void> {
  for (const accountId of ['a', 'b']) {
    await execute({ type: 'open', accountId, requestId: 'open', owner: 'o' })
    await execute({ type: 'deposit', accountId, requestId: 'd', cents: 10 })
  }
  await execute({ type: 'transfer', accountId: 'a', requestId: 't', to: 'b', cents: 3 })
  await poll(transfers, { redis })
  const [seconds, micros] = await raw.time()
  // what is of the last millisecond stays
  while ((await raw.time()).join('.') < `${seconds}.${String(Number(micros) + 2_000).padStart(6, '0')}`) await sleep(1)
  await execute({ type: 'deposit', accountId: 'a', requestId: 'last', cents: 1 })
  await poll(transfers, { redis })
}

async function archived(): Promise<unknown[]> {
  const names = (await readdir(folder)).sort()
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')))
  return texts.flatMap((text) =>
    text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as unknown),
  )
}

/** Has the client's n-th command, and all after it, fail: before it is sent, or when it is answered. */
function dieAt(client: System['client'], n: number, isSent: boolean): () => void {
  const send = client.sendCommand.bind(client) as (...args: unknown[]) => Promise<unknown>
  let sent = 0
  const spy = vi.spyOn(client, 'sendCommand').mockImplementation((async (...args: unknown[]) => {
    const at = sent++
    if (at < n) return send(...args)
    if (at === n && isSent) await send(...args)
    throw new Error('killed')
  }) as never)
  return () => spy.mockRestore()
}

test.each([
  ['ahead of a command', false],
  ['behind a command', true],
])('an archive that dies %s, any of them, loses no entry and no cent', { timeout: TEST_MS }, async (_, isSent) => {
  const system = await loadFor(server.url)
  const balances = async () => [(await system.load('a')).cents, (await system.load('b')).cents]
  let steps = 0
  for (let hasDied = true; hasDied; steps++) {
    await raw.flushall()
    for (const name of await readdir(folder)) await rm(join(folder, name))
    await fill(system)
    const entries = await raw.xrange('accounts', '-', '+')
    const revive = dieAt(system.client, steps, isSent)
    hasDied = await system.archive().then(
      () => false,
      () => true,
    )
    revive()

    expect(await balances()).toEqual([8n, 13n])
    await Promise.all([system.archive(), system.archive()])
    expect(await balances()).toEqual([8n, 13n])
    const left = await raw.xrange('accounts', '-', '+')
    expect([...(await archived()), ...left]).toEqual(entries)
    expect(left.length).toBeLessThan(entries.length)
  }
  expect(steps).toBeGreaterThan(LEAST_STEPS)
})

test('a transfer that comes again once it is archived changes nothing', async () => {
  const system = await loadFor(server.url)
  await fill(system)
  await system.archive()
  const payload = { requestId: 't', from: 'a', to: 'b', cents: 3 }
  await system.settleTransfer({ payload } as Parameters<typeof system.settleTransfer>[0])

  expect((await archived()).length).toBeGreaterThan(0)
  expect([(await system.load('a')).cents, (await system.load('b')).cents]).toEqual([8n, 13n])
})

test('the functions work under the rights that the README gives them', async () => {
  const readme = await readFile(README, 'utf8')
  for (const [user, line] of [
    ['api', 'api, poller, claimer'],
    ['archive', 'archive'],
  ] as const) {
    const [, rights = ''] = new RegExp(`^${line} +(.*)$`, 'm').exec(readme) ?? []
    await raw.call('ACL', 'SETUSER', user, 'reset', 'on', '>p', ...(rights.match(/\([^)]*\)|\S+/g) ?? []))
  }
  const urlOf = (user: string) => server.url.replace('redis://', `redis://${user}:p@`)
  const admin = await loadFor(server.url)
  await fill(admin)
  const { api } = await loadFor(urlOf('api'))
  const deposit = (n: number) => ({ type: 'deposit', accountId: 'a', requestId: `d-${n}`, cents: 1 })
  for (let n = 0; n < 60; n++)
    expect(await api({ body: JSON.stringify(deposit(n)) })).toMatchObject({ statusCode: 200 })
  expect((await admin.load('a')).snapshotVersion).toBeGreaterThan(0)
  await poll(admin.transfers, { redis: admin.redis })
  const { archive } = await loadFor(urlOf('archive'))

  expect((await archive()).archived).toBeGreaterThan(0)
  expect(await api({ body: JSON.stringify({ ...deposit(0), requestId: 'd' }) })).toMatchObject({ statusCode: 409 })
  expect(await api({ queryStringParameters: { accountId: 'a' } })).toMatchObject({ statusCode: 200 })
  expect(await raw.acl('LOG')).toEqual([])
})
