import { execFile } from 'node:child_process'
import { inspect, promisify } from 'node:util'
import fc from 'fast-check'
import { connect } from 'millrace/connect'
import { connectIoredis } from 'millrace/ioredis'
import { describe, expect, onTestFinished, test } from 'vitest'
import { parseServerUrl } from '../../src/clients/rest-url.ts'
import { startRedisServer } from '../../tools/redis-server.ts'

const plain = {
  kind: 'tcp',
  path: undefined,
  tls: false,
  username: undefined,
  password: undefined,
  db: 0,
  cluster: false,
  iam: undefined,
}
const h = [{ host: 'h', port: 6379 }]

const READ: readonly (readonly [url: string, address: object])[] = [
  ['redis://h', { ...plain, hosts: h }],
  ['REDIS://h/', { ...plain, hosts: h }],
  ['redis://h:1/0?', { ...plain, hosts: [{ host: 'h', port: 1 }] }],
  ['rediss://h/15', { ...plain, hosts: h, tls: true, db: 15 }],
  ['redis://:p@h', { ...plain, hosts: h, password: 'p' }],
  ['redis://u:p@h', { ...plain, hosts: h, username: 'u', password: 'p' }],
  ['redis://u%3A:p@h', { ...plain, hosts: h, username: 'u:', password: 'p' }],
  ['redis://:a:b@c/d?e#f@h/3', { ...plain, hosts: h, password: 'a:b@c/d?e#f', db: 3 }],
  ['redis://:50%25@h', { ...plain, hosts: h, password: '50%' }],
  ['redis://:50%of@h', { ...plain, hosts: h, password: '50%of' }],
  ['redis://:100%@h', { ...plain, hosts: h, password: '100%' }],
  ['redis://[::1]:7', { ...plain, hosts: [{ host: '::1', port: 7 }] }],
  ['redis://[fe80::1%eth0]', { ...plain, hosts: [{ host: 'fe80::1%eth0', port: 6379 }] }],
  ['redis://[fe80::1%25eth0]:7', { ...plain, hosts: [{ host: 'fe80::1%eth0', port: 7 }] }],
  ['redis://my_redis.svc', { ...plain, hosts: [{ host: 'my_redis.svc', port: 6379 }] }],
  [
    'redis://a:1,b:2?cluster',
    {
      ...plain,
      hosts: [
        { host: 'a', port: 1 },
        { host: 'b', port: 2 },
      ],
      cluster: true,
    },
  ],
  ['rediss://u@h?iam=orders', { ...plain, hosts: h, tls: true, username: 'u', iam: 'orders' }],
  ['/tmp/a@b.sock', { ...plain, kind: 'socket', hosts: [], path: '/tmp/a@b.sock' }],
  ['/tmp/redis.sock?db=2', { ...plain, kind: 'socket', hosts: [], path: '/tmp/redis.sock', db: 2 }],
  ['unix:///tmp/r.sock', { ...plain, kind: 'socket', hosts: [], path: '/tmp/r.sock' }],
  ['unix://:a@/b@/tmp/r.sock', { ...plain, kind: 'socket', hosts: [], path: '/tmp/r.sock', password: 'a@/b' }],
  ['https://:TO#KEN/?@h/x/', { kind: 'rest', url: 'https://h/x', token: 'TO#KEN/?' }],
  ['https://TOKEN@h:8', { kind: 'rest', url: 'https://h:8', token: 'TOKEN' }],
]

const REFUSED: readonly (readonly [url: unknown, rule: string])[] = [
  ['redis://h/orders', 'the database in the URL must be a number from 0'],
  ['redis://h/-1', 'the database'],
  ['redis://h/1.5', 'the database'],
  ['redis://h/1e3', 'the database'],
  ['redis://h/03', 'the database'],
  ['redis://h/3/', 'the database'],
  ['redis://h/0x1', 'the database'],
  ['redis://h/ 1', 'the database'],
  ['redis://h/１', 'the database'],
  ['redis://h?family=6', 'unknown parameter'],
  ['redis://h?db=3', 'unknown parameter, or one twice; known: cluster, iam; the database is the path, as in /3'],
  ['redis://h?tls=true', 'unknown parameter, or one twice; known: cluster, iam; TLS is rediss://'],
  ['redis+sentinel://h?name=p&ssl', 'cluster, iam; TLS is rediss://'],
  ['redis://h?cluster&cluster', 'one twice'],
  ['redis://h?__proto__=1', 'unknown parameter'],
  ['redis://h?cluster=no', '?cluster in the URL'],
  ['redis://h/3?cluster', 'a cluster has only database 0'],
  ['redis://h#x', 'must end before #'],
  ['redis://a,b', 'must name one host'],
  ['redis://a,?cluster', 'must name a host'],
  ['redis://::1', 'must name a host'],
  ['redis://[h]', 'must name a host'],
  ['redis://[1:2]', 'must name a host'],
  ['redis://[::1::]', 'must name a host'],
  ['redis://', 'must name a host'],
  ['redis:///3', 'must name a host'],
  ['redis://a b', 'must name a host'],
  ['redis://h:0', 'the port'],
  ['redis://h:65536', 'the port'],
  ['redis://:SECRET', 'must name a host'],
  ['redis://h:SECRET', 'the port'],
  ['redis://u@h', 'a user without a password'],
  ['redis://SECRET/x@h', 'a user without a password'],
  ['redis://u:@h', 'a user without a password'],
  ['redis://:\ud800@h', 'half a surrogate pair'],
  ['redis://:%ff@h', 'must be UTF-8'],
  ['redis://:%zz%41@h', 'a lone %'],
  ['rediss://u@h?iam=', '?iam in the URL must name the cache'],
  ['rediss://h?iam=c', 'needs a user'],
  ['redis://u@h?iam=c', 'needs TLS'],
  ['rediss://u:p@h?iam=c', 'a password or ?iam'],
  ['unix://SECRET@/p', 'a user without a password'],
  ['unix://h/p', 'must begin with /'],
  ['/', 'must begin with / and name a file'],
  ['//h', 'must be redis://'],
  ['h:6379', 'must be redis://'],
  ['mongodb://h', 'must be redis://, rediss://, https://, redis+sentinel:// or unix://, or the path of a socket, got'],
  ['constructor://h', 'must be redis://'],
  [' redis://h', 'must be redis://'],
  ['', 'got an empty string'],
  [undefined, 'got undefined'],
  [new URL('redis://h'), 'got object'],
  ['https://h', 'must carry its token'],
  ['https://:T@h?x=1', 'must end with its path'],
]

describe('parseServerUrl()', () => {
  test.each(READ)('reads %s', (url, address) => {
    expect(parseServerUrl('connect', url)).toEqual(address)
  })

  test.each(REFUSED)('refuses %s when the connection is made, and shows none of it', (url, rule) => {
    const error = failureOf(() => connect(url as string))
    expect(error).toBeInstanceOf(TypeError)
    expect(error.message).toMatch(/^Cannot connect/)
    expect(error.message).toContain(rule)
    expect(printed(error)).not.toMatch(/SECRET|orders|family|__proto__/)
  })
})

describe('a password', () => {
  const passwords = fc.string({ unit: 'binary', minLength: 1, maxLength: 40 })

  test('is read encoded or not; errors and connections never depend on which', () => {
    const broken = ['h/orders', 'h?x', 'h:0', '[h]', 'h#', '']
    fc.assert(
      fc.property(
        passwords,
        passwords,
        fc.constantFrom(...broken),
        fc.constantFrom('redis', 'rediss', 'unix'),
        (one, other, place, scheme) => {
          const encoded = (password: string) => `redis://u:${encodeURIComponent(password)}@h/3`
          expect(parseServerUrl('connect', encoded(one))).toMatchObject({ username: 'u', password: one, db: 3 })
          if (!one.includes('%'))
            expect(parseServerUrl('connect', `redis://:${one}@h`)).toMatchObject({ password: one })
          const errors = [one, other].map((password) =>
            shownOf(() => connectIoredis(`${scheme}://:${encodeURIComponent(password)}@${place}`)),
          )
          expect(errors[0]).toBe(errors[1])
          const connections = [one, other].map((password) => shownOf(() => connectIoredis(encoded(password))))
          expect(connections[0]).toBe(connections[1])
        },
      ),
      { numRuns: 10_000 },
    )
  }, 120_000)

  test("is in nothing that the command line prints, not even with ioredis's debug output", async () => {
    const server = await startRedisServer({ args: ['--requirepass', 'right'] })
    onTestFinished(() => server.stop())
    const samples = fc.sample(
      passwords.filter((text) => !text.includes('\0')),
      50,
    )
    const run = async (password: string) => {
      const url = `redis://:${encodeURIComponent(password)}@127.0.0.1:${server.port}/3`
      const args = ['dist/cli/main.js', 'status', '--stream', 'orders', '--redis', url]
      const env = { ...process.env, DEBUG: 'ioredis:*' }
      const printed = await promisify(execFile)(process.execPath, args, { env }).catch(
        (error: { stdout: string; stderr: string }) => error,
      )
      return (printed.stdout + printed.stderr).replace(/^\S+Z /gm, '')
    }
    const expected = await run('another')
    expect(expected).toMatch(/ioredis:redis .*WRONGPASS/s)
    for (const password of samples) expect(await run(password)).toBe(expected)
  }, 120_000)
})

function failureOf(act: () => unknown): Error {
  try {
    act()
  } catch (error) {
    return error as Error
  }
  throw new Error('it must fail')
}

/** All that could be printed of what was made or thrown. */
function shownOf(act: () => unknown): string {
  try {
    return printed(act())
  } catch (error) {
    return printed(error)
  }
}

function printed(value: unknown): string {
  const own =
    value instanceof Error ? Object.getOwnPropertyNames(value).map((name) => [name, Reflect.get(value, name)]) : []
  return inspect(value, { depth: Infinity, showHidden: true }) + JSON.stringify(value) + JSON.stringify(own)
}
