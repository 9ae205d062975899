import { Cluster, Redis } from 'ioredis'
import { Cluster as Cluster5, Redis as Redis5 } from 'ioredis5'
import type { Connection } from 'millrace'
import { createPublisher, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { PrivateRedis, PrivateRedisOptions } from '../../tools/redis-server.ts'
import { startRedisServer } from '../../tools/redis-server.ts'
import { claimOnce } from '../support/claim-once.ts'
import { billing, OrderPaid } from '../support/consumer.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { startOneNodeCluster } from '../support/one-node-cluster.ts'

const order = { orderId: 'o' } as never
type Factory = (url: string, options?: object) => Redis
const VERSIONS: readonly (readonly [name: string, make: Factory])[] = [
  ['ioredis 6', (url, options) => new Redis(url, { ...options })],
  ['ioredis 5', (url, options) => new Redis5(url, { ...options }) as never],
]

async function aServer(args: readonly string[] = [], options: PrivateRedisOptions = {}): Promise<PrivateRedis> {
  const server = await startRedisServer({ args, ...options })
  onTestFinished(() => server.stop())
  return server
}

async function aCluster(): Promise<PrivateRedis> {
  const server = await startOneNodeCluster()
  onTestFinished(() => server.stop())
  return server
}

/** A second client, which inspects the server. */
function look(url: string): Redis {
  const raw = new Redis(url)
  raw.on('error', () => {})
  onTestFinished(() => raw.disconnect())
  return raw
}

function closing(redis: Connection): Connection {
  onTestFinished(() => redis.close())
  return redis
}

function publish(redis: Connection): Promise<unknown> {
  return createPublisher({ stream: 'orders', redis }).publish(OrderPaid, order)
}

async function messageOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'it succeeded',
    (error: Error) => error.message,
  )
}

describe('a database that is refused', () => {
  const settings: readonly (readonly [name: string, connect: (url: string) => Connection])[] = [
    ['of the URL, beyond those there are', (url) => connectIoredis(`${url}/99`)],
    ['of the URL, without the right', (url) => connectIoredis(`${url.replace('//', '//limited:p@')}/3`)],
    ['of the options', (url) => connectIoredis(url, { db: 99 })],
    ...VERSIONS.flatMap(([name, make]) => [
      [`of a factory, ${name}`, (url: string) => connectIoredis(() => make(url, { db: 99 }))] as const,
      [
        `of a factory, ${name}, lazy`,
        (url: string) => connectIoredis(() => make(url, { db: 99, lazyConnect: true })),
      ] as const,
    ]),
    [
      'of a factory, ioredis 6 without ready check',
      (url) => connectIoredis(() => new Redis(url, { db: 99, enableReadyCheck: false })),
    ],
    [
      'of a factory that shares its client',
      (url) => {
        const shared = new Redis(url, { db: 99 })
        onTestFinished(() => shared.disconnect())
        return connectIoredis(() => shared)
      },
    ],
  ]

  test.each(settings)(
    '%s is the error of all that is asked, and nothing is written or taken elsewhere',
    async (_name, connect) => {
      const server = await aServer(['--databases', '4'])
      const raw = look(server.url)
      await raw.acl('SETUSER', 'limited', 'on', '>p', '~*', '+@all', '-select')
      await publish(closing(connectIoredis(server.url)))
      const redis = closing(connect(server.url))

      for (const act of [
        publish(redis),
        poll(
          billing(() => {}),
          { redis },
        ),
        claimOnce(
          billing(() => {}),
          { redis },
        ),
      ])
        expect(await messageOf(act)).toMatch(/(option db|database in the URL) was refused|gave a client again/)
      expect([await raw.xlen('orders'), await raw.exists('{orders}:billing:state')]).toEqual([1, 0])
      expect(await raw.xinfo('GROUPS', 'orders')).toEqual([])
    },
  )

  test('on a cluster is the error, and a Cluster with one is refused by name', async () => {
    const server = await aCluster()
    expect(await messageOf(publish(closing(connectIoredis(`${server.url}/3`))))).toContain(
      'a cluster has only database 0',
    )
    for (const Kind of [Cluster, Cluster5]) {
      const make = () => new Kind([{ host: server.host, port: server.port }], { redisOptions: { db: 3 } }) as never
      expect(await messageOf(publish(closing(connectIoredis(make))))).toMatch(
        /option db must be left out of redisOptions/,
      )
    }
    expect(await look(server.url).exists('orders')).toBe(0)
  })

  test('of ioredis 5 without ready check is refused by name', async () => {
    const server = await aServer()
    const redis = closing(connectIoredis(() => new Redis5(server.url, { db: 1, enableReadyCheck: false }) as never))
    expect(await messageOf(publish(redis))).toContain('enableReadyCheck')
  })

  test.each(VERSIONS)('that is no number is refused by name, %s', async (_name, make) => {
    const server = await aServer()
    for (const db of [Number.NaN, -1, 1.5, 'orders']) {
      const redis = closing(connectIoredis(() => make(server.url, { db })))
      expect(await messageOf(publish(redis))).toContain('option db must be an integer from 0')
    }
    expect(await look(server.url).exists('orders')).toBe(0)
  })

  test('is refused on a reconnect too, where it was accepted before', async () => {
    const server = await aServer()
    const raw = look(server.url)
    await raw.acl('SETUSER', 'u', 'on', '>p', '~*', '+@all')
    const redis = closing(connectIoredis(`redis://u:p@127.0.0.1:${server.port}/3`))
    await publish(redis)
    await raw.acl('SETUSER', 'u', '-select')
    await raw.client('KILL', 'USER', 'u')

    expect(await messageOf(publish(redis))).toContain('the database in the URL was refused')
    expect([await raw.exists('orders'), await raw.select(3), await raw.xlen('orders')]).toEqual([0, 'OK', 1])
  })

  test('that is accepted is used, over every client', async () => {
    const server = await aServer()
    const raw = look(`${server.url}/3`)
    const connections = [
      `${server.url}/3`,
      ...VERSIONS.map(
        ([, make]) =>
          () =>
            make(server.url, { db: 3 }),
      ),
    ]
    for (const target of connections) await publish(closing(connectIoredis(target as never)))
    expect(await raw.xlen('orders')).toBe(3)
  })
})

describe('what a client is made with', () => {
  test('a retry strategy that throws gives up, and ends neither the process nor the connection', async () => {
    const server = await aServer()
    const proxy = await startFaultProxy(server)
    onTestFinished(() => proxy.close())
    const retryStrategy = vi.fn(() => {
      throw new Error('no')
    })
    const redis = closing(connectIoredis(proxy.url, { retryStrategy }))
    await publish(redis)
    proxy.severAll()
    await expect.poll(() => retryStrategy.mock.calls.length).toBe(1)
    expect(await publish(redis)).toMatchObject({ entryId: expect.any(String) })
  })

  test('a password that is a function is asked once an attempt to connect', async () => {
    const server = await aServer(['--requirepass', 'new'])
    const passwords = ['old', 'new']
    const password = vi.fn(async () => passwords.shift() ?? 'none left')
    const redis = closing(connectIoredis(server.url, { password }))
    expect(await messageOf(publish(redis))).toMatch(/WRONGPASS.*correct user and password/)
    await publish(redis)
    await publish(redis)
    expect(password).toHaveBeenCalledTimes(2)
  })

  test('a password that cannot be had is the error, without a URL of it', async () => {
    const server = await aServer()
    const password = () => {
      throw new Error('no answer of redis://vault:SECRET@h')
    }
    const message = await messageOf(publish(closing(connectIoredis(server.url, { password }))))
    expect(message).toBe('Cannot reach Redis: the password could not be had: Error: no answer of a URL')
  })

  test('a factory that never answers ends with the command', async () => {
    const redis = closing(connectIoredis(() => new Promise<never>(() => {})))
    const started = performance.now()
    const { diagnose } = await import('millrace/operate')
    expect(await messageOf(diagnose([], { redis, streams: ['orders'], timeoutMs: 300 }) as never)).toContain(
      'no answer within',
    )
    expect(performance.now() - started).toBeLessThan(5_000)
  })
})

describe("an application's own client", () => {
  test('stays open once given up and is refused in a sentence; the new client replaces it', async () => {
    const server = await aServer()
    const proxy = await startFaultProxy(server)
    onTestFinished(() => proxy.close())
    const shared = new Redis(proxy.url, { commandTimeout: 200, maxRetriesPerRequest: 1 })
    onTestFinished(() => shared.disconnect())
    let client = shared
    const redis = closing(connectIoredis(() => client))
    await publish(redis)
    proxy.stall()
    expect(await messageOf(publish(redis))).toContain('Cannot reach Redis')
    proxy.resume()
    expect(await messageOf(publish(redis))).toContain('the factory gave a client again')
    expect(await shared.ping()).toBe('PONG')

    client = new Redis(server.url)
    expect(await publish(redis)).toMatchObject({ entryId: expect.any(String) })
    const first = client
    await redis.close()
    await expect.poll(() => first.status).toBe('end')
  })
})
