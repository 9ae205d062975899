import { Redis } from 'ioredis'
import { Redis as Redis5 } from 'ioredis5'
import type { Connection } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import { Account, EVENTS, pause } from '../support/account.ts'

const NAME = 'orders'
const password = 'of-the-servers'
const sentinelPassword = 'of-the-sentinels'

let servers: PrivateRedis[]
let sentinels: PrivateRedis[]

beforeAll(async () => {
  const login = ['--requirepass', password, '--masterauth', password, '--repl-diskless-sync-delay', '0']
  const primary = await startRedisServer({ args: login })
  const replica = await startRedisServer({ args: [...login, '--replicaof', '127.0.0.1', `${primary.port}`] })
  servers = [primary, replica]
  const config = [
    `sentinel monitor ${NAME} 127.0.0.1 ${primary.port} 2`,
    `sentinel auth-pass ${NAME} ${password}`,
    `sentinel down-after-milliseconds ${NAME} 500`,
    `sentinel failover-timeout ${NAME} 3000`,
    `requirepass ${sentinelPassword}`,
    `sentinel sentinel-pass ${sentinelPassword}`,
  ]
  sentinels = await Promise.all([1, 2, 3].map(() => startRedisServer({ config, args: ['--sentinel'] })))
  await whole()
}, 40_000)

afterAll(() => Promise.all([...servers, ...sentinels].map((each) => each.stop())))

async function ask<T>({ port }: PrivateRedis, login: string, act: (raw: Redis) => Promise<T>): Promise<T> {
  const raw = new Redis({ port, password: login, retryStrategy: () => null })
  raw.on('error', () => {})
  try {
    return await act(raw)
  } finally {
    raw.disconnect()
  }
}

/** Resolves once the sentinels know each other, and a primary with a replica that has what it has. */
async function whole(): Promise<void> {
  const knows = async (sentinel: PrivateRedis) => {
    const text = String(await ask(sentinel, sentinelPassword, (raw) => raw.info('sentinel')))
    return /status=ok,.*slaves=1,sentinels=3/.test(text)
  }
  const isLinked = async (server: PrivateRedis) => {
    const text = await ask(server, password, (raw) => raw.info('replication')).catch(() => '')
    return /master_link_status:up|connected_slaves:1/.test(text)
  }
  const all = () => Promise.all([...sentinels.map(knows), ...servers.map(isLinked)])
  await vi.waitUntil(async () => (await all()).every(Boolean), { timeout: 20_000, interval: 100 })
}

async function primary(): Promise<PrivateRedis> {
  const [sentinel] = sentinels as [PrivateRedis]
  const place = await ask(sentinel, sentinelPassword, (raw) => raw.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', NAME))
  return servers.find(({ port }) => `${port}` === (place as string[])[1]) as PrivateRedis
}

async function fails(act: (server: PrivateRedis) => unknown): Promise<PrivateRedis> {
  const before = await primary()
  await act(before)
  await vi.waitUntil(async () => (await primary()) !== before, { timeout: 20_000, interval: 50 })
  return before
}

const options = () => ({
  sentinels: sentinels.map(({ host, port }) => ({ host, port })),
  name: NAME,
  password,
  sentinelPassword,
  failoverDetector: true,
  connectTimeout: 1_000,
  socketTimeout: 2_000,
  maxRetriesPerRequest: 1,
})

const CLIENTS: Readonly<Record<string, () => Connection>> = {
  'ioredis 6': () => connectIoredis(() => new Redis(options())),
  'ioredis 5': () => connectIoredis(() => new Redis5(options()) as never),
}

/** How a primary goes, and how it comes back. */
const FAULTS: Readonly<Record<string, () => Promise<unknown>>> = {
  'a failover that is asked for': () =>
    fails(() => ask(sentinels[0] as PrivateRedis, sentinelPassword, (raw) => raw.call('SENTINEL', 'FAILOVER', NAME))),
  'a primary that is killed': async () => {
    const killed = await fails((server) => server.kill('SIGKILL'))
    await killed.restart()
  },
  'a primary that hangs': async () => {
    const hung = await fails((server) => server.kill('SIGSTOP'))
    hung.kill('SIGCONT')
  },
}

test.each(Object.entries(FAULTS))(
  '%s, as sentinels see it: what was replicated is not lost, nothing is doubled',
  async (name, strike) => {
    const told = Object.entries(CLIENTS).map(([client, connect], n) => {
      const redis = connect()
      return { client, redis, account: new Account(redis, `${name}-${n}`) }
    })
    const invocations = told.map(({ account }) => account.invokeEachSecond(9))
    await pause(1_700)
    await strike()
    await Promise.all(invocations)
    await whole()
    for (const { client, redis, account } of told) {
      await account.settle()
      console.log(`${name}, ${client}: ${JSON.stringify(account.numbers)}`, account.failures.slice(0, 2))
      await redis.close()
    }
    // what one invocation was told by a primary that was none any more
    for (const { account } of told) expect(account.numbers).toMatchObject({ twice: 0 })
    for (const { account } of told) expect(account.numbers.lost).toBeLessThanOrEqual(EVENTS)
  },
  60_000,
)
