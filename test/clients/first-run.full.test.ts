import { execFile } from 'node:child_process'
import dns from 'node:dns'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer as createHttp } from 'node:http'
import { type AddressInfo, connect as connectTcp, createServer as createTcp, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTls } from 'node:tls'
import { promisify } from 'node:util'
import { Redis as Upstash } from '@upstash/redis'
import { Cluster, Redis } from 'ioredis'
import { Cluster as Cluster5, Redis as Redis5 } from 'ioredis5'
import { createPublisher, poll } from 'millrace'
import { connect } from 'millrace/connect'
import { connectIoredis } from 'millrace/ioredis'
import { inspectStreams, redriveDeadLetters } from 'millrace/operate'
import { connectUpstash } from 'millrace/upstash'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { classifyReplyError, toReplyError, toSelectError } from '../../src/group/redis/reply-errors.ts'
import type { PrivateRedis } from '../../tools/redis-server.ts'
import { startRedisServer } from '../../tools/redis-server.ts'
import { claimOnce } from '../support/claim-once.ts'
import { IOREDIS_OPTIONS, UPSTASH_OPTIONS } from '../support/client-options.ts'
import { billing, OrderPaid } from '../support/consumer.ts'
import { startOneNodeCluster } from '../support/one-node-cluster.ts'

type Redises = Parameters<typeof connectIoredis>

let server: PrivateRedis
let tls: { readonly port: number; readonly ca: Buffer; close(): void }

beforeAll(async () => {
  server = await startRedisServer({ args: ['--databases', '4'] })
  tls = await startTls(server.port)
})
afterAll(async () => {
  tls.close()
  await server.stop()
})

function publish(...target: Redises): Promise<unknown> {
  const redis = typeof target[0] === 'string' && target.length === 1 ? connect(target[0]) : connectIoredis(...target)
  onTestFinished(() => redis.close())
  return createPublisher({ stream: 'orders', redis }).publish(OrderPaid, { orderId: 'o' } as never)
}

async function messageOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'it succeeded',
    (error: Error) => error.message,
  )
}

/** A TLS server of a private authority before a plain one. */
async function startTls(port: number) {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-tls-'))
  const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')]
  const subject = ['-subj', '/CN=redis.internal', '-addext', 'subjectAltName=DNS:redis.internal,IP:127.0.0.1']
  const made = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  await promisify(execFile)('openssl', [...made, '-keyout', key, '-out', cert, ...subject])
  const ca = await readFile(cert)
  const server = createTls({ key: await readFile(key), cert: ca }, (client) => {
    const redis = connectTcp(port, '127.0.0.1')
    client.pipe(redis).pipe(client)
    for (const socket of [client, redis]) socket.on('error', () => {})
    client.on('close', () => redis.destroy())
  })
  await rm(dir, { recursive: true })
  return { port: await listen(server), ca, close: () => server.close() }
}

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** A server that answers each command with what `reply` says, and how many commands it saw. */
async function startFake(reply: (count: number) => string | undefined) {
  let seen = 0
  const fake = createTcp((socket) => {
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      for (const _ of chunk.toString('latin1').matchAll(/^\*\d+\r\n/gm)) {
        const said = reply(seen++)
        if (said === undefined) socket.destroy()
        else socket.write(said)
      }
    })
  })
  const port = await listen(fake)
  onTestFinished(() => void fake.close())
  return { url: `redis://127.0.0.1:${port}`, seen: () => seen }
}

const FIRST_RUN: readonly (readonly [what: string, act: () => Promise<unknown>, says: RegExp])[] = [
  ['a forgotten password', () => withPassword(''), /^.*NOAUTH .*put user and password into the URL/],
  ['a wrong password', () => withPassword(':wrong@'), /WRONGPASS .*correct user and password/],
  [
    'a password that the server does not know',
    () => publish(`redis://:p@127.0.0.1:${server.port}`),
    /without any password configured.*leave the password out/,
  ],
  ['redis:// to a TLS port', () => publish(`redis://127.0.0.1:${tls.port}`), /use rediss:\/\//],
  ['redis:// to a TLS port, with a password', () => publish(`redis://:p@127.0.0.1:${tls.port}`), /use rediss:\/\//],
  [
    'rediss:// to a plain port',
    () => publish(`rediss://127.0.0.1:${server.port}`, { connectTimeout: 500 }),
    /use redis:\/\//,
  ],
  ['a certificate of a private authority', () => publish(`rediss://127.0.0.1:${tls.port}`), /options.tls.ca/],
  ['a database that there is not', () => publish(`${server.url}/9`), /the database in the URL was refused/],
  ['a server of HTTP there', () => otherServer(''), /is not one of Redis; host and port must be/],
  ['a server of HTTP there, with a password', () => otherServer(':p@'), /is not one of Redis; host and port must be/],
  [
    'nobody there',
    () => publish('redis://127.0.0.1:1'),
    /connect ECONNREFUSED 127.0.0.1:1; a server must be up there: check host and port$/,
  ],
  ['a user without rights', () => withoutRights((url) => publish(url)), /NOPERM .*'xadd'.*; .* a publisher \+xadd/],
  [
    'a user without the rights of a script',
    () =>
      withoutRights((url) =>
        poll(
          billing(() => {}),
          { redis: connectIoredis(url) },
        ),
      ),
    /(NOPERM|can't run this command).*; poller and claimer need what millrace plan --acl MODULE prints/,
  ],
  [
    '?cluster to a server that is none',
    () => publish(`${server.url}?cluster`),
    /support disabled; .* leave \?cluster out/,
  ],
  ['no socket there', () => publish('/nowhere.sock'), /ENOENT .*the path must be the socket/],
  ['a host without an address', () => publish('redis://nowhere.invalid'), /nowhere.invalid; the host must be a name/],
  ['a key of another type', wrongType, /WRONGTYPE .*; key "orders" is of another type/],
  ['REST that is not there', () => rest(502), /HTTP 502: the answer could not be read; is the URL its REST URL/],
]

async function otherServer(login: string) {
  const other = createTcp((socket) => {
    socket.on('error', () => {}).on('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  })
  const port = await listen(other)
  onTestFinished(() => void other.close())
  return publish(`redis://${login}127.0.0.1:${port}`)
}

async function withoutRights(act: (url: string) => Promise<unknown>): Promise<unknown> {
  const own = await startRedisServer()
  onTestFinished(() => own.stop())
  const raw = new Redis(own.url)
  onTestFinished(() => raw.disconnect())
  await raw.call('acl', 'setuser', 'nobody', 'on', '>p', '~*', '+eval', '+evalsha')
  return act(own.url.replace('redis://', 'redis://nobody:p@'))
}

async function withPassword(login: string) {
  const locked = await startRedisServer({ args: ['--requirepass', 'right'] })
  onTestFinished(() => locked.stop())
  return publish(`redis://${login}127.0.0.1:${locked.port}`)
}

async function wrongType() {
  const raw = new Redis(server.url)
  await raw.select(1)
  await raw.set('orders', 'text')
  raw.disconnect()
  return publish(`${server.url}/1`)
}

async function rest(status: number) {
  const http = createHttp((_request, response) => response.writeHead(status).end('Bad Gateway'))
  const port = await listen(http)
  onTestFinished(() => void http.close())
  return publish(`http://:token@127.0.0.1:${port}`)
}

/** The texts of the table in docs/connections.md, a row's each: what stands between its dots and commas. */
async function documented(): Promise<readonly (readonly string[])[]> {
  const page = await readFile('docs/connections.md', 'utf8')
  const [, table = ''] = page.split('## What you see')
  return [...table.matchAll(/^\| (`.*?) \| /gm)].flatMap(([, seen = '']) =>
    [...seen.matchAll(/`([^`]+)`/g)].map(([, text = '']) => text.split('…').map((part) => part.trim())),
  )
}

describe('a first run', () => {
  test.each(FIRST_RUN)('with %s says what to change', async (_what, act, says) => {
    const message = await messageOf(act())
    expect(message).toMatch(says)
    expect(message.split('\n')).toHaveLength(1)
    const known = await documented()
    expect(known.filter((texts) => texts.every((text) => message.includes(text)))).not.toEqual([])
  })

  test('on a server without XAUTOCLAIM says its version, the same for every script', () => {
    const sha = 'e'.repeat(40)
    const texts = [1, 2].map(
      (n) =>
        `ERR Error running script (call to f_${sha.replace('e', `${n}`)}): @user_script:${n}: @user_script: ${n}: Unknown Redis command called from Lua script`,
    )
    expect([...new Set(texts.map((text) => toReplyError(text).message))]).toEqual([
      expect.stringMatching(/^Unknown Redis command .*; the server must be Redis 6.2 or newer, or Valkey$/),
    ])
  })

  test('on a cluster says which client finds its nodes', () => {
    expect(toReplyError('MOVED 1 127.0.0.1:1').message).toContain('connectIoredis(() => new Cluster(')
  })
})

describe('a refusal that passes', () => {
  const PASSING = [
    'LOADING Redis is loading the dataset in memory',
    'BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.',
    'CLUSTERDOWN The cluster is down',
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    'TRYAGAIN Multiple keys request during rehashing of slot',
    'NOREPLICAS Not enough good replicas to write.',
    "READONLY You can't write against a read only replica.",
    'ERR max number of clients reached',
    'ERR max concurrent connections exceeded',
  ]

  test.each(PASSING)('%s is asked again, and nobody hears of it', async (text) => {
    const fake = await startFake((count) => (count < 2 ? `-${text}\r\n` : '$3\r\n1-0\r\n'))
    expect(await publish(fake.url)).toMatchObject({ entryId: '1-0' })
    expect(fake.seen()).toBe(3)
  })

  test('that does not pass is the error within 3 s', async () => {
    const fake = await startFake(() => '-LOADING Redis is loading\r\n')
    expect(await messageOf(publish(fake.url))).toContain('LOADING')
    expect(fake.seen()).toBeLessThan(10)
  })

  test('is not asked again after a lost answer, a final one, or under a similar name', async () => {
    const lost = await startFake(() => undefined)
    expect(await messageOf(publish(lost.url))).toContain('Cannot reach Redis')
    const final = await startFake(() => "-NOGROUP No such key 'LOADING' or consumer group 'BUSY'\r\n")
    expect(await messageOf(publish(final.url))).toContain('NOGROUP')
    expect(final.seen()).toBe(1)
  })
})

test('a lease refused in any words is no lease: poller and claimer go on', async () => {
  const own = await startRedisServer()
  onTestFinished(() => own.stop())
  const raw = new Redis(own.url)
  onTestFinished(() => raw.disconnect())
  await raw.acl('SETUSER', 'leaseless', 'on', '>p', '~*', '&*', '+@all', '-set')
  const redis = connectIoredis(`redis://leaseless:p@127.0.0.1:${own.port}`)
  onTestFinished(() => redis.close())
  await createPublisher({ stream: 'orders', redis }).publish(OrderPaid, { orderId: 'o' } as never)
  const failing = billing(
    () => {
      throw new Error('no')
    },
    { backoff: { firstMs: 0, maxMs: 0 } },
  )
  expect(await poll(failing, { redis })).toMatchObject({ read: 1, retried: 1 })
  const consumer = billing(() => {})
  expect(await claimOnce(consumer, { redis })).toMatchObject({ claimed: 1, acked: 1 })
})

describe('classifyReplyError()', () => {
  test.each([
    ['OOM command not allowed', 'OOM'],
    ['ERR DB capacity quota exceeded', 'OOM'],
    ['Out of memory', 'OOM'],
    ['ERR Protocol error: unauthenticated multibulk length', 'NOAUTH'],
  ])('reads %s as %s', (text, code) => {
    expect(toReplyError(text).is(code)).toBe(true)
  })

  test.each(['NOSCRIPT No matching script', 'BUSYGROUP Consumer Group name already exists'])(
    'leaves %s as it is',
    (text) => {
      expect([toReplyError(text).message, classifyReplyError(text).isPassing]).toEqual([text, false])
    },
  )

  test.each([
    "NOPERM this user has no permissions to run the 'xadd' command",
    "NOPERM User u has no permissions to access the 'orders' key",
    "ERR ACL failure in script: User u has no permissions to run the 'xadd' command",
    "ERR The user executing the script can't run this command or subcommand",
  ])('takes %s for a right that is missing, for good', (text) => {
    expect(toReplyError(text).message).toMatch(/; .* need what millrace plan --acl MODULE prints/)
    expect(classifyReplyError(text)).toMatchObject({ isPassing: false, endsClient: false, hangsUp: false })
  })

  test('leaves a database that may not be chosen to who names it', () => {
    const text = "NOPERM this user has no permissions to run the 'select' command"

    expect(toSelectError(text, 'option db').message).toMatch(/; option db was refused: the user needs \+select/)
  })
})

/** Where any text will not do. */
const VALUES: Readonly<Record<string, unknown>> = {
  tls: {},
  db: 1,
  lazyConnect: true,
  family: 4,
  keepAlive: 1,
  maxRetriesPerRequest: 1,
  retryStrategy: () => 1,
  ...Object.fromEntries(
    ['command', 'connect', 'socket', 'disconnect', 'blocking'].map((name) => [`${name}Timeout`, 1_000]),
  ),
}

/** What would do something else than it says. */
const NONSENSE: readonly (readonly [options: unknown, rule: string])[] = [
  [3, 'options must be an object'],
  ['x', 'options must be an object'],
  [['x'], 'options must be an object, got an array'],
  [{ conectTimeout: 1 }, 'option conectTimeout is refused'],
  [JSON.parse('{"__proto__":{"db":1}}'), 'option __proto__ is refused'],
  [{ connectTimeout: '5s' }, 'connectTimeout must be a number'],
  [{ connectTimeout: null }, 'connectTimeout must be a number'],
  [{ connectTimeout: Number.NaN }, 'connectTimeout must be >= 1'],
  [{ socketTimeout: -1 }, 'socketTimeout must be >= 1'],
  [{ commandTimeout: Number.POSITIVE_INFINITY }, 'commandTimeout must be <= 2147483647'],
  [{ commandTimeout: 3e9 }, 'commandTimeout must be <= 2147483647'],
  [{ maxRetriesPerRequest: 'x' }, 'maxRetriesPerRequest must be a number'],
  [{ family: '4' }, 'family must be a number'],
  [{ retryStrategy: 'x' }, 'retryStrategy must be a function'],
  [{ username: 3 }, 'username must be a string'],
  [{ keyPrefix: 3 }, 'keyPrefix must be a string'],
  [{ db: '1' }, 'db must be a number'],
  [{ db: null }, 'db must be a number'],
  [{ tls: true }, 'option tls must be an object'],
  [{ tls: { host: 'elsewhere' } }, 'option tls.host is refused: the URL says where'],
  [{ scripts: {} }, 'option scripts is refused'],
]

test.each(NONSENSE)('the options %j are refused when the connection is made', (options, rule) => {
  expect(() => connectIoredis('redis://h', options as never)).toThrow(rule)
})

test.each([
  ['throws no Error', () => Promise.reject('redis://u:SECRET@h'), 'it threw something that is no Error'],
  ['gives nothing', () => undefined, 'the factory must give a client of ioredis'],
  ['gives a class', () => Redis, 'the factory must give a client of ioredis'],
  ['gives what only looks like a client', () => ({ pipeline() {} }), 'the factory must give a client of ioredis'],
])('a factory that %s is the error of every command, in one sentence', async (_what, make, says) => {
  for (let n = 0; n < 2; n++) {
    const message = await messageOf(publish(make as never))
    expect(message).toContain(says)
    expect(message).not.toContain('SECRET')
  }
})

test('a factory of @upstash/redis that gives another client is refused in a sentence', () => {
  for (const make of [() => undefined, () => ({})])
    expect(() => connectUpstash(make as never)).toThrow('the function must give a Redis of @upstash/redis')
})

test('an undefined password is that of the URL, and half a character is refused', async () => {
  const locked = await startRedisServer({ args: ['--requirepass', 'right'] })
  onTestFinished(() => locked.stop())
  const url = `redis://:right@127.0.0.1:${locked.port}`
  expect(await messageOf(publish(url, { password: undefined }))).toBe('it succeeded')
  expect(await messageOf(publish(url, { password: '\ud800' }))).toContain('must be a string of whole characters')
})

test.each<[from: string, target: (made: () => void) => Parameters<typeof connectIoredis>[0]]>([
  ['a URL', () => server.url],
  [
    'a factory',
    (made) => () => {
      made()
      return new Redis(server.url)
    },
  ],
])('a connection of %s that was closed opens another one', async (_from, target) => {
  const made = vi.fn()
  const redis = connectIoredis(target(made))
  onTestFinished(() => redis.close())
  const publisher = createPublisher({ stream: 'closed', redis })
  for (let invocation = 0; invocation < 3; invocation++) {
    expect(await messageOf(publisher.publish(OrderPaid, { orderId: 'o' } as never))).toBe('it succeeded')
    await redis.close()
  }
})

test('a factory that does not answer in time is asked again', async () => {
  let asked = 0
  const late = Promise.withResolvers<Redis>()
  const redis = connectIoredis(() => (asked++ === 0 ? late.promise : new Redis(server.url)))
  onTestFinished(() => redis.close())
  const publisher = createPublisher({ stream: 'late', redis })
  expect(await messageOf(publisher.publish(OrderPaid, { orderId: 'o' } as never))).toContain('no answer within')
  expect(await messageOf(publisher.publish(OrderPaid, { orderId: 'o' } as never))).toBe('it succeeded')
  const client = new Redis(server.url)
  late.resolve(client)
  await redis.close()
  await expect.poll(() => client.status).toBe('end')
}, 20_000)

describe('an option', () => {
  test.each([
    ['keyPrefix', { keyPrefix: 'app:' }],
    ['stringNumbers', { stringNumbers: true }],
    ['enableOfflineQueue', { enableOfflineQueue: false }],
    ['enableOfflineQueue, lazy', { enableOfflineQueue: false, lazyConnect: true }],
    ['showFriendlyErrorStack', { showFriendlyErrorStack: true }],
  ])('%s works from the first invocation, over every client', async (_name, options) => {
    for (const target of [
      server.url,
      () => new Redis(server.url, options),
      () => new Redis5(server.url, options) as never,
    ]) {
      const raw = new Redis(server.url)
      await raw.flushdb()
      raw.disconnect()
      const redis = typeof target === 'string' ? connectIoredis(target, options) : connectIoredis(target)
      onTestFinished(() => redis.close())
      await createPublisher({ stream: 'orders', redis }).publish(OrderPaid, { orderId: 'o' } as never)
      const failing = billing(
        () => {
          throw new Error('no')
        },
        { maxDeliveries: 2, backoff: { firstMs: 0, maxMs: 0 } },
      )
      expect(await poll(failing, { redis })).toMatchObject({ read: 1, retried: 1 })
      await expect.poll(async () => (await claimOnce(failing, { redis })).deadLettered, { timeout: 10_000 }).toBe(1)
    }
  })

  test.each([
    ['readOnly', { readOnly: true }],
    ['monitor', { monitor: true }],
    ['role', { sentinels: [{ host: 'x', port: 1 }], name: 'm', role: 'slave' }],
  ])('%s of a factory is refused by name', async (name, options) => {
    for (const Kind of [Redis, Redis5 as never as typeof Redis]) {
      const make = () => new Kind({ port: server.port, lazyConnect: true, ...options } as never) as never
      expect(await messageOf(publish(make))).toContain(`option ${name} is refused`)
    }
  })

  test('scaleReads of a Cluster is refused by name', async () => {
    for (const Kind of [Cluster, Cluster5])
      expect(await messageOf(publish(() => new Kind([], { scaleReads: 'all', lazyConnect: true }) as never))).toContain(
        'option scaleReads is refused',
      )
  })

  test.each(Object.entries(IOREDIS_OPTIONS))('%s is with a URL, and of a factory: %j', async (name, effects) => {
    const [withUrl, ofFactory]: readonly string[] = effects
    const said = `option ${name} is refused`
    const value = VALUES[name] ?? 'x'
    const make = () => connectIoredis(server.url, { [name]: value })
    if (withUrl === 'refused') expect(make).toThrow(said)
    else expect(make).not.toThrow()
    const client = new Redis({ port: server.port, lazyConnect: true })
    Object.assign(client.options, { [name]: value })
    const redis = connectIoredis(() => client)
    onTestFinished(() => redis.close())
    const send = () => createPublisher({ stream: 'orders', redis }).publish(OrderPaid, { orderId: 'o' } as never)
    if (ofFactory === 'refused') expect(await messageOf(send())).toContain(said)
  })
})

test('of the options of @upstash/redis one is refused, by name', () => {
  const refused = Object.entries(UPSTASH_OPTIONS).filter(([, effect]) => effect === 'refused')
  expect(refused.map(([name]) => name)).toEqual(['responseEncoding'])
  const make = () => connectUpstash(() => new Upstash({ url: 'https://h.example.com', token: 't' }))
  expect(make).toThrow('responseEncoding')
})

describe('code of others in the process', () => {
  test('that transforms arguments and replies of all clients changes nothing of ours', async () => {
    const kinds = [Redis.Command, Redis5.Command] as unknown as {
      setReplyTransformer: Set
      setArgumentTransformer: Set
    }[]
    type Set = (name: string, transform: unknown) => void
    const names = ['xreadgroup', 'xautoclaim', 'evalsha', 'eval', 'xadd', 'get']
    for (const kind of kinds) {
      for (const name of names) {
        kind.setReplyTransformer(name, () => null)
        kind.setArgumentTransformer(name, () => ['spoiled'])
      }
    }
    for (const make of [() => new Redis(server.url), () => new Redis5(server.url) as never]) {
      const raw = new Redis(server.url)
      await raw.call('FLUSHDB')
      raw.disconnect()
      expect(await publish(make)).toMatchObject({ entryId: expect.stringMatching(/^\d+-\d+$/) })
      const redis = connectIoredis(make)
      onTestFinished(() => redis.close())
      expect(
        await poll(
          billing(() => {}),
          { redis },
        ),
      ).toMatchObject({ read: 1, acked: 1 })
    }
  })
})

describe("a primary's endpoint that fails over", () => {
  test('costs at most three invocations, although the name twice answers the old address, now a replica', async () => {
    const old = await startRedisServer()
    const next = await startRedisServer()
    onTestFinished(async () => void (await Promise.all([old.stop(), next.stop()])))
    // the new primary, on the old one's port of another address
    const door = createTcp((client) => {
      const to = connectTcp(next.port, '127.0.0.1')
      client.pipe(to).pipe(client)
      for (const socket of [client, to]) socket.on('error', () => {})
      client.on('close', () => to.destroy())
    })
    door.listen(old.port, '127.0.0.2')
    await once(door, 'listening')
    onTestFinished(() => void door.close())
    let asked = 0
    // the first connection, and twice after the failover
    const address = () => (asked++ < 3 ? '127.0.0.1' : '127.0.0.2')
    const lookup = vi.spyOn(dns, 'lookup') as unknown as { mockImplementation(answer: Lookup): void }
    lookup.mockImplementation((_name, options, done) =>
      options.all ? done(null, [{ address: address(), family: 4 }]) : done(null, address(), 4),
    )
    onTestFinished(() => void vi.restoreAllMocks())
    const redis = connectIoredis(`redis://orders.cache.internal:${old.port}`)
    onTestFinished(() => redis.close())
    const send = () => createPublisher({ stream: 'orders', redis }).publish(OrderPaid, { orderId: 'o' } as never)
    await send()

    old.kill('SIGSTOP')
    const outcomes = [await messageOf(send())]
    old.kill('SIGCONT')
    const raw = new Redis(old.url)
    await raw.replicaof('127.0.0.1', next.port)
    raw.disconnect()
    for (let n = 0; n < 5; n++) outcomes.push(await messageOf(send()))

    expect(asked).toBeGreaterThan(3)
    expect(outcomes.filter((outcome) => outcome !== 'it succeeded').length).toBeLessThanOrEqual(3)
    expect(outcomes.slice(-2)).toEqual(['it succeeded', 'it succeeded'])
  }, 60_000)
})

type Lookup = (
  name: string,
  options: { readonly all?: boolean },
  done: (error: null, found: string | object, family?: number) => void,
) => void

describe('an environment', () => {
  const PURPOSES: readonly (readonly [client: string, of: (server: PrivateRedis) => Redises, connections: number])[] = [
    ['a URL', ({ url }) => [url], 1],
    ['a URL with a database', ({ url }) => [`${url}/1`], 1],
    ['ioredis 6', ({ url }) => [() => new Redis(url)], 1],
    ['ioredis 5', ({ url }) => [() => new Redis5(url) as never], 1],
    // one that commands go by, and one that asks for the slots and hangs up
    ['Cluster', ({ port }) => [() => new Cluster([{ host: '127.0.0.1', port }])], 1],
  ]

  test.each(PURPOSES)(
    'holds one connection a client, and nothing of it once that is closed: %s',
    async (client, of, most) => {
      const own = client === 'Cluster' ? await startOneNodeCluster() : await startRedisServer()
      onTestFinished(() => own.stop())
      const raw = new Redis(own.url)
      onTestFinished(() => raw.disconnect())
      const held = async () =>
        String(await raw.client('LIST'))
          .split('\n')
          .filter(Boolean).length - 1
      const before = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
      const redis = connectIoredis(...of(own))
      const consumer = billing(() => {})
      for (let n = 0; n < 3; n++) {
        await createPublisher({ stream: 'orders', redis }).publish(OrderPaid, { orderId: 'o' } as never)
        await Promise.all([poll(consumer, { redis }), claimOnce(consumer, { redis })])
      }
      await expect.poll(held).toBe(most)
      console.info(`connections that publish, poll and claim hold together, over ${client}: ${await held()}`)
      await redis.close()
      await expect.poll(held).toBe(0)
      const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
      await expect.poll(timers).toBeLessThanOrEqual(before + 1)
    },
  )
})

describe('a time limit', () => {
  test('holds for a Cluster whose nodes are gone', async () => {
    for (const Kind of [Cluster, Cluster5]) {
      const make = () => new Kind([{ host: '127.0.0.1', port: 1 }]) as never
      expect(await messageOf(publish(make))).toMatch(/Cannot reach Redis/)
    }
  }, 30_000)

  test('holds for a warm Cluster whose node hangs: publish, status and redrive end', async () => {
    await Promise.all(
      [Cluster, Cluster5].map(async (Kind) => {
        const own = await startOneNodeCluster()
        onTestFinished(() => own.stop())
        const redis = connectIoredis(() => new Kind([{ host: own.host, port: own.port }]) as never)
        const consumer = billing(() => {})
        const publisher = createPublisher({ stream: 'orders', redis })
        await publisher.publish(OrderPaid, { orderId: 'o' } as never)
        own.kill('SIGSTOP')
        const started = performance.now()
        for (const act of [
          () => publisher.publish(OrderPaid, { orderId: 'o' } as never),
          () => inspectStreams({ redis, streams: ['orders'] }),
          () => redriveDeadLetters(consumer, { redis, all: true }),
        ])
          expect(await messageOf(act())).toMatch(/Cannot reach Redis/)
        expect(performance.now() - started).toBeLessThan(3 * 10_000 + 3_000)
        own.kill('SIGCONT')
        await redis.close()
      }),
    )
  }, 60_000)

  test('holds for a server that accepts and never answers', async () => {
    const mute = createTcp(() => {})
    const port = await listen(mute)
    onTestFinished(() => void mute.close())
    expect(await messageOf(publish(`redis://127.0.0.1:${port}`, { commandTimeout: 300 }))).toContain(
      'no answer within 300 ms',
    )
  })
})
