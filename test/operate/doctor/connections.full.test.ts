import { Cluster, Redis } from 'ioredis'
import { Redis as Redis5 } from 'ioredis5'
import type { Connection } from 'millrace'
import { connect } from 'millrace/connect'
import { connectIoredis } from 'millrace/ioredis'
import { diagnose } from 'millrace/operate'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { type PrivateRedis, startRedisServer } from '../../../tools/redis-server.ts'
import { millrace } from '../../cli/millrace.ts'

let server: PrivateRedis
let locked: PrivateRedis
beforeAll(async () => {
  server = await startRedisServer({
    args: ['--databases', '4', '--maxmemory-policy', 'allkeys-lru', '--maxmemory', '99mb'],
  })
  locked = await startRedisServer({ args: ['--requirepass', 'right'] })
})
afterAll(async () => void (await Promise.all([server.stop(), locked.stop()])))

/** What the doctor says, in findings or of why it cannot look. */
async function said(redis: Connection): Promise<string> {
  onTestFinished(() => redis.close())
  const findings = await diagnose([], { redis, streams: ['orders'] }).catch((error: Error) => [
    { check: 'refused', message: error.message, fix: '' },
  ])
  return findings.map(({ check, message, fix }) => `${check}: ${message}; ${fix}`).join('\n')
}

const factory = (options: object, Kind = Redis) =>
  connectIoredis(() => new Kind({ port: server.port, ...options }) as never)

const NAMED: readonly (readonly [what: string, connect: () => Connection, says: RegExp])[] = [
  ['a database of the URL that is refused', () => connectIoredis(`${server.url}/9`), /database in the URL was refused/],
  ['one of a factory that is refused', () => factory({ db: 9 }), /option db was refused/],
  [
    'ioredis 5 that does not wait for its database',
    () => factory({ db: 1, enableReadyCheck: false }, Redis5 as never),
    /option enableReadyCheck/,
  ],
  ['a key prefix', () => connectIoredis(server.url, { keyPrefix: 'app:' }), /key-prefix: The client sends key/],
  ['a monitoring client', () => factory({ monitor: true }), /option monitor is refused/],
  ['readOnly', () => factory({ readOnly: true }), /option readOnly is refused/],
  [
    'scaleReads',
    () => connectIoredis(() => new Cluster([], { scaleReads: 'slave', lazyConnect: true })),
    /option scaleReads is refused/,
  ],
  ['a forgotten password', () => connectIoredis(locked.url), /NOAUTH .*put user and password/],
  [
    'a wrong password',
    () => connectIoredis(locked.url.replace('//', '//:wrong@')),
    /WRONGPASS .*correct user and password/,
  ],
  ['nobody there', () => connectIoredis('redis://127.0.0.1:1'), /ECONNREFUSED/],
  ['a memory policy that evicts', () => connectIoredis(server.url), /eviction: maxmemory-policy is "allkeys-lru"/],
]

test.each(NAMED)('the doctor names %s', async (_what, make, says) => {
  expect(await said(make())).toMatch(says)
})

test('the doctor names a server that became a replica', async () => {
  const replica = await startRedisServer({ args: ['--replicaof', '127.0.0.1', '1'] })
  onTestFinished(() => replica.stop())
  expect(await said(connectIoredis(replica.url))).toMatch(/role: The server is a replica.*the primary's endpoint/)
})

test.each([
  ['redis://h/orders', /the database in the URL must be a number from 0/],
  ['redis://:a#b@h:x', /the port in the URL must be 1 to 65535/],
  ['redis://h?tls=1', /unknown parameter/],
])('millrace doctor names what is wrong with %s, and shows none of it', async (url, says) => {
  expect(() => connect(url)).toThrow(says)
  const run = millrace(['doctor', '--stream', 'orders', '--redis', url])
  expect([await run.exit, run.lines.length]).toEqual([2, 1])
  expect(run.lines[0]).toMatch(says)
})
