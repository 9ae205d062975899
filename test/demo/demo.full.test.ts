import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { beforeAll, describe, expect, test } from 'vitest'
import { startRedisServer } from '../../tools/redis-server.ts'

const root = join(import.meta.dirname, '../..')
/** It publishes for some seconds, an entry that fails twice takes four more, and machines are busy. */
const PATIENCE_MS = 90_000

describe('npm run demo', { timeout: PATIENCE_MS }, () => {
  let ran: Ran

  beforeAll(async () => {
    ran = await runDemo(['--seconds', '3'])
  }, PATIENCE_MS)

  test('ends well, says nothing on standard error and leaves nothing behind', () => {
    expect(ran).toMatchObject({ status: 0, stderr: '', leftFiles: [] })
    expect(ran.stdout).toMatch(/\n\nEverything adds up\n$/)
  })

  test('prints a plain line a second without a terminal', () => {
    const lines = ran.stdout.match(/^ +\d+\.\d s( +\d+){8} +\d+\.\d s$/gm)

    expect(lines?.length).toBeGreaterThanOrEqual(4)
    expect(ran.stdout).not.toContain('\x1b')
  })

  test('finds that what was published was acked or is a dead letter, on both sides', () => {
    const [published, acked, deadLettered] = numbersOf(
      ran,
      /ok {2}published (\d+) += acked (\d+) \+ dead-lettered (\d+)$/m,
    )

    expect(published).toBe(acked + deadLettered)
    expect(numbersOf(ran, /ok {2}XLEN stream (\d+) += published (\d+)$/m)).toEqual([published, published])
    expect(numbersOf(ran, /ok {2}XLEN dead letters (\d+) += dead-lettered (\d+)$/m)).toEqual([
      deadLettered,
      deadLettered,
    ])
    expect(numbersOf(ran, /ok {2}XPENDING (\d+) += 0$/m)).toEqual([0])
    expect(ran.stdout).not.toMatch(/^ +NO /m)
  })

  test.each(['non-retryable', 'invalid', 'unrouted', 'malformed'])(
    'finds as many dead letters with the reason %s as it meant',
    (reason) => {
      const [found, meant] = numbersOf(ran, new RegExp(`ok {2}dead letters, ${reason} (\\d+) += meant (\\d+)$`, 'm'))

      expect(found).toBeGreaterThan(0)
      expect(found).toBe(meant)
    },
  )

  test('prints a dead letter whole, its fields in their order', () => {
    const [, letter = ''] = /^A dead letter, \d+-\d+\n((?: {2}.*\n)+)/m.exec(ran.stdout) ?? []

    expect([...letter.matchAll(/^ {2}(\w+)/gm)].map(([, name]) => name)).toEqual([...LETTER_HEAD, ...EVENT])
    expect(letter).toMatch(/^ {2}errorMessage +No contract with carrier "(pigeon|raven)"$/m)
  })
})

test('npm run demo -- --cluster adds up on three masters', { timeout: PATIENCE_MS }, async () => {
  const ran = await runDemo(['--seconds', '1', '--cluster'])

  expect(ran).toMatchObject({ status: 0, stderr: '', leftFiles: [] })
  expect(ran.stdout).toMatch(/on a cluster of its own[\s\S]*\n\nEverything adds up\n$/)
})

test('npm run demo -- analytics shows what an offline computation has', { timeout: PATIENCE_MS }, async () => {
  const ran = await runDemo(['analytics', '--seconds', '3'])

  expect(ran).toMatchObject({ status: 0, stderr: '', leftFiles: [] })
  expect(ran.stdout).toMatch(/ok {2}whole answers that differ: read 0 += offline 0\n/)
  expect(ran.stdout).toMatch(/\n\nEverything adds up\n$/)
})

test('npm run demo -- activity counts once what three streams were given', { timeout: PATIENCE_MS }, async () => {
  const ran = await runDemo(['activity', '--seconds', '3'])

  expect(ran).toMatchObject({ status: 0, stderr: '', leftFiles: [] })
  expect(ran.stdout).toMatch(/\n\nEverything adds up\n$/)
  for (const name of [
    'actions view',
    'orders to send in the end',
    'ignored, of a type that nobody handles',
    'dead letters',
  ])
    expect(numbersOf(ran, new RegExp(`ok  ${name} (\\d+) += \\w+ (\\d+)$`, 'm'))[0]).toBeGreaterThan(0)
})

test('npm run demo -- checkout adds up', { timeout: PATIENCE_MS }, async () => {
  const ran = await runDemo(['checkout', '--seconds', '3'])

  expect(ran).toMatchObject({ status: 0, stderr: '', leftFiles: [] })
  expect(ran.stdout).toMatch(/^ok {2}cents charged \d+ += shipped \d+ \+ refunded \d+$/m)
  expect(ran.stdout).toMatch(/\n\nEverything adds up\n$/)
})

test('npm run demo -- users has outcomes, one user an address, and profiles made anew', {
  timeout: PATIENCE_MS,
}, async () => {
  const ran = await runDemo(['users', '--seconds', '3'])

  expect(ran).toMatchObject({ status: 0, stderr: '', leftFiles: [] })
  expect(ran.stdout).toMatch(/\n\nEverything adds up\n$/)
  const [commands, done, refused] = numbersOf(ran, /ok {2}commands (\d+) += done (\d+) \+ refused (\d+)$/m)
  expect(commands).toBe(done + refused)
  expect(Math.min(done, refused)).toBeGreaterThan(0)
  const name = 'profiles of the new projection that are right'
  expect(numbersOf(ran, new RegExp(`ok {2}${name} (\\d+) += users (\\d+)$`, 'm'))[0]).toBeGreaterThan(0)
})

test('npm run demo -- accounts loses not a cent', { timeout: PATIENCE_MS }, async () => {
  const ran = await runDemo(['accounts', '--seconds', '3'])

  expect(ran).toMatchObject({ status: 0, stderr: '', leftFiles: [] })
  expect(ran.stdout).toMatch(/\n\nEverything adds up\n$/)
  const [balances, onItsWay, brought] = numbersOf(ran, /ok {2}balances (\d+) \+ on its way (\d+) += brought in (\d+)$/m)
  expect(balances).toBe(brought)
  expect(onItsWay).toBe(0)
  expect(balances).toBeGreaterThan(0)
})

test('npm run demo -- outbox publishes each row once, in order', { timeout: PATIENCE_MS }, async () => {
  const ran = await runDemo(['outbox', '--seconds', '3'])

  expect(ran).toMatchObject({ status: 0, stderr: '', leftFiles: [] })
  expect(ran.stdout).toMatch(/\n\nEverything adds up\n$/)
  const [rows, published, setAside] = numbersOf(ran, /ok {2}rows (\d+) += published (\d+) \+ set aside (\d+)$/m)
  expect(rows).toBe(published + setAside)
  expect(Math.min(published, setAside)).toBeGreaterThan(0)
})

test('npm run demo -- webhooks adds up', { timeout: PATIENCE_MS }, async () => {
  const ran = await runDemo(['webhooks', '--seconds', '3'])

  expect(ran).toMatchObject({ status: 0, stderr: '', leftFiles: [] })
  expect(numbersOf(ran, /^ok {2}delivered (\d+) += done by merchants (\d+)$/m)[0]).toBeGreaterThan(0)
  expect(ran.stdout).toMatch(/^ok {2}events \d+ += delivered \d+ \+ dead letters \d+ \+ of a disabled endpoint \d+$/m)
  expect(ran.stdout).toMatch(/\n\nEverything adds up\n$/)
})

test('npm run demo -- jobs adds up', { timeout: PATIENCE_MS }, async () => {
  const ran = await runDemo(['jobs', '--seconds', '3'])

  expect(ran).toMatchObject({ status: 0, stderr: '', leftFiles: [] })
  const ended =
    /^ok {2}jobs (\d+) += done (\d+) \+ failed (\d+) \+ canceled before they started \d+ \+ canceled later \d+$/m
  for (const count of numbersOf(ran, ended)) expect(count).toBeGreaterThan(0)
  expect(ran.stdout).toMatch(/\n\nEverything adds up\n$/)
})

test('npm run demo -- fan-out adds up in each group', { timeout: PATIENCE_MS }, async () => {
  const ran = await runDemo(['fan-out', '--seconds', '3'])

  expect(ran).toMatchObject({ status: 0, stderr: '', leftFiles: [] })
  for (const name of [
    'billing: cents paid',
    'search: documents',
    'warehouse: rows',
    'bridge: events',
    'audit: entries',
  ])
    expect(numbersOf(ran, new RegExp(`ok  ${name} (\\d+) += [ \\w]+ (\\d+)$`, 'm'))[0]).toBeGreaterThan(0)
  expect(ran.stdout).toMatch(/ok {2}groups behind 0 += 0\n[\s\S]*\n\nEverything adds up\n$/)
})

describe.concurrent('npm run demo with REDIS_URL', { timeout: PATIENCE_MS }, () => {
  test('leaves nothing of its own there, and what is there alone', async ({ expect }) => {
    await using server = await aServer()
    await server.client.set('{orders}:billing:dlq', 'foreign')
    const ran = await runDemo(['--seconds', '1'], { REDIS_URL: server.url })

    expect(ran).toMatchObject({ status: 0, stderr: '', leftFiles: [] })
    expect(ran.stdout).toMatch(/^Stream millrace-demo-[0-9a-f]{8}:orders, group billing, on the Redis of REDIS_URL$/m)
    expect(ran.stdout).not.toContain(PASSWORD)
    expect(await server.client.keys('*')).toEqual(['{orders}:billing:dlq'])
    expect(await server.client.get('{orders}:billing:dlq')).toBe('foreign')
  })

  test.for(['SIGINT', 'SIGTERM'] as const)('stops on %s, and still deletes its keys', async (signal, { expect }) => {
    await using server = await aServer()
    const ran = await runDemo(['--seconds', '60'], { REDIS_URL: server.url }, signal)

    expect(ran).toMatchObject({ status: 130, stderr: 'Stopped before it was done\n' })
    expect(await server.client.keys('*')).toEqual([])
  })

  test.for([
    ['no URL', 'hunter2', 'Cannot read the environment: REDIS_URL must be a redis:// or rediss:// URL\n'],
    ['nobody there', 'redis://:hunter2@127.0.0.1:1', 'Cannot reach Redis: connect ECONNREFUSED 127.0.0.1:1\n'],
  ] as const)('fails and does not show it: %s', async ([, url, stderr], { expect }) => {
    expect(await runDemo([], { REDIS_URL: url })).toMatchObject({ status: 1, stdout: '', stderr })
  })
})

const LETTER_HEAD = [
  'originalStream',
  'originalId',
  'group',
  'consumer',
  'eventId',
  'eventType',
  'schemaVersion',
  'reason',
  'errorName',
  'errorMessage',
  'errorStack',
  'deliveryCount',
  'lastDeliveredAt',
  'failedAt',
  'traceparent',
  'fieldCount',
]
const EVENT = ['eventId', 'eventType', 'aggregateType', 'aggregateId', 'producer', 'occurredAt', 'payload']
const PASSWORD = 'open-sesame'

interface Ran {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
  /** What is left in its temporary directory. */
  readonly leftFiles: readonly string[]
}

/** Runs the demo to its end; a signal is sent once it has shown what it does. */
async function runDemo(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  signal?: NodeJS.Signals,
): Promise<Ran> {
  const temporary = await mkdtemp(join(tmpdir(), 'millrace-demo-'))
  const { PATH = '', MILLRACE_REDIS_SERVER = '' } = process.env
  const child = spawn(process.execPath, ['demo/main.ts', ...args], {
    cwd: root,
    env: { PATH, MILLRACE_REDIS_SERVER, TMPDIR: temporary, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const printed = { stdout: '', stderr: '' }
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    printed.stderr += chunk
  })
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    printed.stdout += chunk
    if (signal && /^ +1\.\d s/m.test(printed.stdout)) child.kill(signal)
  })
  const [status] = (await once(child, 'close')) as [number | null]
  const leftFiles = await readdir(temporary)
  await rm(temporary, { recursive: true })
  return { status, ...printed, leftFiles }
}

/** A server that somebody uses: it wants a password. */
async function aServer() {
  const server = await startRedisServer({ args: ['--requirepass', PASSWORD] })
  const url = `redis://:${PASSWORD}@${server.host}:${server.port}`
  const client = new Redis(url)
  return {
    url,
    client,
    async [Symbol.asyncDispose]() {
      client.disconnect()
      await server.stop()
    },
  }
}

function numbersOf({ stdout }: Ran, line: RegExp): [number, number, number] {
  return (line.exec(stdout) ?? []).slice(1).map(Number) as [number, number, number]
}
