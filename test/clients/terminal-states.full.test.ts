import { Cluster, Redis } from 'ioredis'
import { Cluster as Cluster5, Redis as Redis5 } from 'ioredis5'
import { createPublisher } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { describe, expect, test } from 'vitest'
import type { PrivateRedis, PrivateRedisOptions } from '../../tools/redis-server.ts'
import { startRedisServer } from '../../tools/redis-server.ts'
import { OrderPaid } from '../support/consumer.ts'
import { becomeWhole, startOneNodeCluster } from '../support/one-node-cluster.ts'

/** Servers of one kind, and how they are found. */
interface World {
  readonly server: PrivateRedis
  readonly all: readonly PrivateRedis[]
  /** Resolves once commands are taken, after a start. */
  whole(): Promise<unknown>
}

type Start = (password: string) => Promise<World>
type Connect = (world: World) => Parameters<typeof connectIoredis>

async function startAll(...options: readonly ((before: readonly PrivateRedis[]) => PrivateRedisOptions)[]) {
  const all: PrivateRedis[] = []
  for (const each of options) all.push(await startRedisServer(each(all)))
  return { server: all[0] as PrivateRedis, all }
}

async function ask<T>(world: { readonly server: PrivateRedis }, act: (raw: Redis) => Promise<T>): Promise<T> {
  // whichever password it has now
  for (const password of ['old', 'new']) {
    const raw = new Redis({ port: world.server.port, password, retryStrategy: () => null })
    raw.on('error', () => {})
    try {
      await raw.ping()
      return await act(raw)
    } catch (error) {
      if (password === 'new') throw error
    } finally {
      raw.disconnect()
    }
  }
  throw new Error('unreachable')
}

const WORLDS: Readonly<Record<'Redis' | 'Sentinel' | 'Cluster', Start>> = {
  async Redis(password) {
    const servers = await startAll(() => ({ args: ['--requirepass', password] }))
    return { ...servers, whole: async () => {} }
  },
  async Sentinel(password) {
    const servers = await startAll(
      () => ({ args: ['--requirepass', password] }),
      ([{ port } = { port: 0 }]) => ({
        config: [`sentinel monitor orders 127.0.0.1 ${port} 1`, `sentinel auth-pass orders ${password}`],
        args: ['--sentinel'],
      }),
    )
    return { ...servers, whole: async () => {} }
  },
  async Cluster(password) {
    const server = await startOneNodeCluster(password)
    return { server, all: [server], whole: () => becomeWhole(server, password) }
  },
}

const password = 'old'
const limits = { commandTimeout: 1_000, connectTimeout: 1_000, maxRetriesPerRequest: 1 }
const ENDING = { retryStrategy: () => null }

/** A client's options by what it is like, for each way to find a server. */
const LIKE: Readonly<Record<string, object>> = {
  'as it is': {},
  'that gives up': ENDING,
  'that gives up, lazy': { ...ENDING, lazyConnect: true },
  'that gives up, without a queue': { ...ENDING, enableOfflineQueue: false },
}

const rows: (readonly [client: string, world: keyof typeof WORLDS, connect: Connect])[] = []
for (const like of Object.keys(LIKE)) {
  const options = { ...limits, ...LIKE[like] }
  if (!like.includes('lazy'))
    rows.push([
      `a URL, a client ${like}`,
      'Redis',
      ({ server: { port } }) => [`redis://:old@127.0.0.1:${port}`, options],
    ])
  for (const [version, Kind, Nodes] of [
    ['ioredis 6', Redis, Cluster],
    ['ioredis 5', Redis5 as never as typeof Redis, Cluster5 as never as typeof Cluster],
  ] as const) {
    const name = `${version}, a client ${like}`
    rows.push([name, 'Redis', ({ server: { port } }) => [async () => new Kind({ port, password, ...options })]])
    const sentinel = 'sentinelRetryStrategy' as const
    const ending = 'retryStrategy' in options ? { [sentinel]: () => null } : {}
    rows.push([
      name,
      'Sentinel',
      ({ all }) => [
        () =>
          new Kind({
            sentinels: [{ host: '127.0.0.1', port: all[1]?.port as number }],
            name: 'orders',
            password,
            ...options,
            ...ending,
          }),
      ],
    ])
    const { retryStrategy: clusterRetryStrategy, ...cluster } = options as typeof options & Partial<typeof ENDING>
    rows.push([
      name,
      'Cluster',
      ({ server: { host, port } }) => [
        () =>
          new Nodes([{ host, port }], {
            ...cluster,
            ...(clusterRetryStrategy && { clusterRetryStrategy }),
            redisOptions: { password, ...limits },
          } as never),
      ],
    ])
  }
}

interface Cause {
  readonly passwordOfServer?: string
  readonly worlds: readonly string[]
  break(world: World): unknown
  mend(world: World): unknown
}

const CAUSES: Readonly<Record<string, Cause>> = {
  'its server is down': {
    worlds: Object.keys(WORLDS),
    break({ all }) {
      for (const each of all) each.kill('SIGKILL')
    },
    async mend({ all, whole }) {
      for (const each of all) await each.restart()
      await whole()
    },
  },
  'its server hangs': {
    worlds: Object.keys(WORLDS),
    break({ all }) {
      for (const each of all) each.kill('SIGSTOP')
    },
    async mend({ all, whole }) {
      for (const each of all) each.kill('SIGCONT')
      await whole()
    },
  },
  'its password was another': {
    passwordOfServer: 'new',
    worlds: Object.keys(WORLDS),
    break() {},
    mend: (world) => ask(world, (raw) => raw.config('SET', 'requirepass', 'old')),
  },
  'its server is a replica': {
    worlds: ['Redis'],
    break: (world) => ask(world, (raw) => raw.replicaof('127.0.0.1', 1)),
    mend: (world) => ask(world, (raw) => raw.replicaof('NO', 'ONE')),
  },
}

const table = Object.entries(CAUSES).flatMap(([cause, { worlds }]) =>
  rows
    .filter(([, world]) => worlds.includes(world))
    .map(([client, world, connect]) => ({ cause, client, world, connect })),
)

describe.concurrent('after the cause is gone the second invocation succeeds at the latest', () => {
  test.each(table)(
    '$cause: $world, $client',
    async ({ cause, world: kind, connect }) => {
      const { passwordOfServer = 'old', ...row } = CAUSES[cause] as Cause
      const world = await WORLDS[kind](passwordOfServer)
      const redis = connectIoredis(...connect(world))
      const publish = () => createPublisher({ stream: 'orders', redis }).publish(OrderPaid, { orderId: 'o' } as never)
      try {
        if (passwordOfServer === 'old') await publish()
        await row.break(world)
        for (let n = 0; n < 2; n++) await expect(publish()).rejects.toThrow(/Cannot reach Redis|WRONGPASS|READONLY/)
        await row.mend(world)
        await publish().catch(() => {})
        expect(await publish()).toMatchObject({ entryId: expect.any(String) })
      } finally {
        await redis.close()
        for (const each of world.all) await each.stop()
      }
    },
    60_000,
  )
})
