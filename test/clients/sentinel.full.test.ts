import { createServer } from 'node:net'
import { networkInterfaces } from 'node:os'
import { Redis } from 'ioredis'
import { Redis as Redis5 } from 'ioredis5'
import { createPublisher, poll } from 'millrace'
import { connect } from 'millrace/connect'
import { connectIoredis, type IoredisOptions } from 'millrace/ioredis'
import { iamAuth } from 'millrace/lambda'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { parseRedisUrl } from '../../src/clients/url.ts'
import { startRedisServer } from '../../tools/redis-server.ts'
import { millrace } from '../cli/millrace.ts'
import { type Certificate, makeCertificate } from '../support/certificate.ts'
import { billing, OrderPaid } from '../support/consumer.ts'
import { NAME, password, sentinelPassword, startSentinels, type Watched } from '../support/sentinels.ts'

let certificate: Certificate
let plain: Watched
let secure: Watched
beforeAll(async () => {
  certificate = await makeCertificate()
  ;[plain, secure] = await Promise.all([startSentinels(), startSentinels(certificate)])
}, 60_000)
afterAll(async () => {
  await Promise.all([plain.stop(), secure.stop()])
  await certificate.remove()
})

const hasIPv6 = Object.values(networkInterfaces()).some((each) => each?.some(({ address }) => address === '::1'))

type Places = Watched['places']

const hostsOf = (places: Places) => places.map(({ host, port }) => `${host}:${port}`).join(',')
const urlOf = (places: Places, rest = '', scheme = 'redis') =>
  `${scheme}+sentinel://:${password}@${hostsOf(places)}/?name=${NAME}${rest}`
const withPassword = `&sentinelPassword=${sentinelPassword}`

async function publish(redis: ReturnType<typeof connect>): Promise<unknown> {
  onTestFinished(() => redis.close())
  return createPublisher({ stream: 'orders', redis }).publish(OrderPaid, { orderId: 'o' })
}

const messageOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'it succeeded',
    (error: Error) => error.message,
  )

describe('a URL of sentinels', () => {
  test('names sentinels, the login and database of the servers, and what the primary is called', () => {
    const read = parseRedisUrl('connect', 'rediss+sentinel://u:p%40@a,[::1]:7/3?name=my%20orders&sentinelPassword=%26')
    expect(read).toEqual({
      kind: 'tcp',
      hosts: [
        { host: 'a', port: 26379 },
        { host: '::1', port: 7 },
      ],
      tls: true,
      username: 'u',
      password: 'p@',
      db: 3,
      cluster: false,
      sentinel: { name: 'my orders', password: '&' },
    })
  })

  test.each([
    ['redis+sentinel://h', '?name='],
    ['redis+sentinel://h?name=', '?name='],
    ['redis+sentinel://h?name=SECRET&name=SECRET', 'one twice'],
    ['redis+sentinel://h?name=SECRET&cluster', 'a cluster has no sentinels'],
    ['rediss+sentinel://u@h?name=SECRET&iam=SECRET', 'signed in to by IAM has no sentinels'],
    ['redis+sentinel://u@h?name=SECRET', 'a user without a password'],
    ['redis+sentinel://h?name=SECRET&sentinelUsername=SECRET', 'a sentinelUsername without'],
    ['redis+sentinel://h,?name=SECRET', 'must name a host'],
    ['redis+sentinel://h/x?name=SECRET', 'the database'],
    ['redis+sentinel://h#SECRET', 'must end before #'],
    ['redis+sentinel://?name=SECRET', 'must name a host'],
    ['redis-sentinel://h?name=SECRET', 'redis+sentinel://'],
    ['redis://h?name=SECRET', 'unknown parameter'],
  ])('%s is refused when the connection is made', (url, rule) => {
    for (const make of [connect, connectIoredis]) {
      expect(() => make(url)).toThrow(rule)
      expect(() => make(url)).not.toThrow('SECRET')
    }
  })

  test.each<[url: string, options: object, rule: string]>([
    ['redis://h', { sentinelPassword: 'x' }, 'option sentinelPassword is refused: it goes with the URL of sentinels'],
    ['redis://h?cluster', { failoverDetector: false }, 'option failoverDetector is refused'],
    ['redis+sentinel://h?name=n', { sentinels: [] }, 'option sentinels is refused'],
    ['redis+sentinel://h?name=n', { name: 'other' }, 'option name is refused'],
    ['redis+sentinel://h?name=n', { role: 'slave' }, 'option role is refused'],
    ['redis+sentinel://h?name=n', { sentinelUsername: 'x' }, 'needs a sentinelPassword'],
    ['redis+sentinel://h?name=n', { failoverDetector: 1 }, 'failoverDetector must be true or false'],
    ['redis+sentinel://h?name=n', { sentinelTLS: true }, 'option sentinelTLS must be an object'],
    ['redis+sentinel://h?name=n', { sentinelTLS: { host: 'x' } }, 'option sentinelTLS.host is refused'],
    ['redis+sentinel://h?name=n', { tls: {}, enableTLSForSentinelMode: false }, 'contradict each other'],
  ])('%s with %j is refused by name', (url, options, rule) => {
    expect(() => connectIoredis(url, options as never)).toThrow(rule)
  })

  test('is enough to publish and to poll, with passwords as options or in the URL', async () => {
    const ways: readonly [string, IoredisOptions?][] = [
      [urlOf(plain.places, withPassword)],
      [urlOf(plain.places), { sentinelPassword }],
      [urlOf(plain.places), { sentinelPassword: async () => sentinelPassword, password: () => password }],
      [urlOf(plain.places), { sentinelPassword, sentinelUsername: 'default', failoverDetector: false, db: 0 }],
    ]
    for (const [url, options] of ways)
      expect(await messageOf(publish(connectIoredis(url, options)))).toBe('it succeeded')
    const redis = connect(urlOf(plain.places, withPassword))
    expect(await messageOf(publish(redis))).toBe('it succeeded')
    expect(
      await poll(
        billing(async () => {}, { stream: 'orders' }),
        { redis, remainingMs: 20_000 },
      ),
    ).toMatchObject({
      read: 5,
      acked: 5,
    })
  })

  test('has a database', async () => {
    const redis = connectIoredis(urlOf(plain.places).replace('/?', '/3?'), { sentinelPassword })
    await publish(redis)
    expect(await plain.ask(await plain.primary(), (raw) => raw.select(3).then(() => raw.exists('orders')))).toBe(1)
  })

  test('over TLS trusts what tls says for servers and sentinels, and sentinelTLS for sentinels', async () => {
    const { ca } = certificate
    const mixed = [plain.places[0], ...secure.places.slice(1)] as unknown as Places
    const ways: readonly [url: string, options: IoredisOptions, end: RegExp][] = [
      [urlOf(secure.places, '', 'rediss'), { tls: { ca } }, /^it succeeded$/],
      [urlOf(secure.places), { tls: { ca }, sentinelTLS: { ca } }, /^it succeeded$/],
      [urlOf(secure.places), { sentinelTLS: { ca }, enableTLSForSentinelMode: true, tls: { ca } }, /^it succeeded$/],
      [urlOf(secure.places, '', 'rediss'), {}, /no sentinel names a primary: .*options.tls.ca/],
      [urlOf(secure.places, '', 'rediss'), { sentinelTLS: { ca } }, /^Cannot reach Redis: .*options.tls.ca/],
      [urlOf(secure.places), {}, /no sentinel names a primary: .*if it speaks TLS, use rediss:/],
      [urlOf(mixed, '', 'rediss'), { tls: { ca } }, /^it succeeded$/],
    ]
    for (const [url, options, end] of ways)
      expect(await messageOf(publish(connectIoredis(url, { sentinelPassword, ...options }))), url).toMatch(end)
  })

  test('plain sentinels name servers that speak TLS', async () => {
    const { ca } = certificate
    const places = secure.sentinels
    const options = { sentinelPassword, enableTLSForSentinelMode: true, tls: { ca } }
    expect(await messageOf(publish(connectIoredis(urlOf(places), options)))).toBe('it succeeded')
  })

  test('says in one sentence what to change', async () => {
    const [known] = plain.places as unknown as [Places[number]]
    const nobody = { host: '127.0.0.1', port: 1 }
    const ends: readonly [string, IoredisOptions, RegExp][] = [
      [urlOf([nobody]), { sentinelPassword }, /no sentinel names a primary: connect ECONNREFUSED/],
      [urlOf([known]), {}, /NOAUTH .*; correct sentinelUsername and sentinelPassword/],
      [urlOf([known]), { sentinelPassword: 'WRONG' }, /WRONGPASS .*; correct sentinelUsername and sentinelPassword/],
      [urlOf([known]).replace(`:${password}@`, ':WRONG@'), { sentinelPassword }, /WRONGPASS .*; correct user and p/],
      [urlOf([known]).replace(NAME, 'WRONG'), { sentinelPassword }, /no sentinel .*knows no primary by the name/],
      [
        urlOf([known]),
        {
          sentinelPassword: () => {
            throw new Error('no secret')
          },
        },
        /no sentinel names a primary: the password could not be had: Error: no secret/,
      ],
    ]
    for (const [url, options, end] of ends) {
      const said = await messageOf(publish(connectIoredis(url, options)))
      expect(said).toMatch(end)
      expect(said).not.toContain('WRONG@')
    }
  })

  test.each<[what: string, answer: string | undefined, says: RegExp]>([
    ['hangs up', undefined, /no sentinel names a primary: the server hung up without an answer; if it speaks TLS/],
    ['speaks HTTP', 'HTTP/1.1 400 Bad Request\r\n\r\n', /no sentinel .*: the answer is not one of Redis/],
    [
      'is a server',
      "-ERR unknown command 'SENTINEL'\r\n",
      /no sentinel .*; the hosts must be of sentinels, port 26379/,
    ],
    ['may not tell', '-NOPERM no permissions\r\n', /no sentinel .*needs \+sentinel\|get-master-addr-by-name/],
    ['does not know yet', '-IDONTKNOW ask another Sentinel.\r\n', /no sentinel .*: IDONTKNOW ask another Sentinel/],
    ['answers half', '*1\r\n$9\r\n127.0.0.1\r\n', /no sentinel .*: the answer is not one of Redis/],
    [
      'names what is gone',
      '*2\r\n$9\r\n127.0.0.1\r\n$1\r\n1\r\n',
      /Cannot reach Redis: connect ECONNREFUSED 127.0.0.1:1/,
    ],
  ])('whose only sentinel %s says what to change', async (_what, answer, says) => {
    const sentinel = createServer((socket) => {
      socket.on('error', () => {})
      if (answer === undefined) socket.destroy()
      else socket.on('data', () => socket.write(answer))
    }).listen(0, '127.0.0.1')
    onTestFinished(() => void sentinel.close())
    await vi.waitUntil(() => sentinel.listening)
    const { port } = sentinel.address() as { port: number }
    expect(await messageOf(publish(connect(`redis+sentinel://127.0.0.1:${port}?name=orders`)))).toMatch(says)
  })

  test.skipIf(!hasIPv6)('finds servers by IPv6, and by the names that sentinels announce', async () => {
    const bind = ['--bind', '127.0.0.1', '::1']
    const server = await startRedisServer({ args: bind })
    const names = ['sentinel resolve-hostnames yes', 'sentinel announce-hostnames yes']
    const sentinel = await startRedisServer({
      config: [
        ...names,
        `sentinel monitor six ::1 ${server.port} 1`,
        `sentinel monitor named localhost ${server.port} 1`,
      ],
      args: ['--sentinel', ...bind],
    })
    onTestFinished(() => Promise.all([server, sentinel].map((each) => each.stop())).then(() => {}))
    for (const name of ['six', 'named'])
      expect(await messageOf(publish(connect(`redis+sentinel://[::1]:${sentinel.port},[::1]:1?name=${name}`)))).toBe(
        'it succeeded',
      )
  })

  test('takes the answer of one sentinel while others are gone, hang or refuse', async () => {
    const [known] = plain.places as unknown as [Places[number]]
    const silent = createServer(() => {}).listen(0, '127.0.0.1')
    onTestFinished(() => void silent.close())
    await vi.waitUntil(() => silent.listening)
    const { port } = silent.address() as { port: number }
    const others = [
      { host: '127.0.0.1', port: 1 },
      { host: '127.0.0.1', port },
      { host: 'no.invalid', port: 1 },
    ]
    const startedAt = performance.now()
    const redis = connectIoredis(urlOf([...others, known] as Places), { sentinelPassword })
    expect(await messageOf(publish(redis))).toBe('it succeeded')
    expect(performance.now() - startedAt).toBeLessThan(1_500)
  })

  test('all of whose sentinels hang is an error in time', async () => {
    const silent = createServer(() => {}).listen(0, '127.0.0.1')
    onTestFinished(() => void silent.close())
    await vi.waitUntil(() => silent.listening)
    const places = [{ host: '127.0.0.1', port: (silent.address() as { port: number }).port }]
    const redis = connectIoredis(urlOf(places), { sentinelPassword, connectTimeout: 300 })
    expect(await messageOf(publish(redis))).toMatch(/no sentinel names a primary|no sentinel answered/)
  })

  test('leaves no connection behind when it is closed', async () => {
    const redis = connectIoredis(urlOf(plain.places), { sentinelPassword })
    await publish(redis)
    const subscribers = async () => {
      const lists = await Promise.all(
        plain.sentinels.map((each) => plain.ask(each, (raw) => raw.client('LIST') as Promise<string>)),
      )
      return lists.join('').match(/cmd=subscribe/g)?.length ?? 0
    }
    await vi.waitUntil(async () => (await subscribers()) === 3)
    await redis.close()
    await vi.waitUntil(async () => (await subscribers()) === 0)
  })

  const SHOWN = { status: 'orders', tail: 'OrderPaid', doctor: '1 replica' }
  test.each(Object.keys(SHOWN))('is enough for millrace %s', async (command) => {
    const args = command === 'tail' ? ['--from', '0', '--count', '1'] : []
    const env = { ...process.env, NODE_EXTRA_CA_CERTS: certificate.certFile }
    for (const [places, scheme] of [
      [plain.places, 'redis'],
      [secure.places, 'rediss'],
    ] as const) {
      await publish(
        connectIoredis(urlOf(places, '', scheme), {
          sentinelPassword,
          tls: scheme === 'redis' ? undefined : { ca: certificate.ca },
        }),
      )
      const run = millrace([command, '--stream', 'orders', ...args, '--redis', urlOf(places, withPassword, scheme)], {
        env,
      })
      expect(await run.exit, run.text).not.toBe(2)
      expect(run.text).toContain(SHOWN[command as keyof typeof SHOWN])
      expect(run.text).not.toMatch(/Cannot|Not told|of-the/)
    }
  })

  test('goes with a user of IAM options as with any other', () => {
    const env = { AWS_ACCESS_KEY_ID: 'k', AWS_SECRET_ACCESS_KEY: 's' }
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
    const auth = iamAuth({ userId: 'app', cacheName: 'orders', region: 'eu-central-1' })
    expect(() => connectIoredis('rediss+sentinel://h?name=n', auth)).not.toThrow()
    vi.unstubAllEnvs()
  })
})

test("a factory's Sentinel client hangs up on a silent primary, and warns of a missing failoverDetector", async () => {
  const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  onTestFinished(() => warned.mockRestore())
  const options = { sentinels: [...plain.places], name: NAME, password, sentinelPassword }
  const clients = [
    new Redis({ ...options, failoverDetector: true, socketTimeout: 7_000 }),
    new Redis5(options),
    new Redis(options),
  ]
  for (const [at, client] of clients.entries()) {
    await publish(connectIoredis(() => client as never))
    expect(client.options.socketTimeout).toBe(at === 0 ? 7_000 : 2_000)
    expect(warned.mock.calls.map(([text]) => text)).toEqual(
      at === 0 ? [] : [expect.stringContaining('failoverDetector: true')],
    )
  }
})

describe('a failover', () => {
  test('of another primary of the same sentinels ends no connection', async () => {
    await plain.whole()
    const other = await startRedisServer({ args: ['--requirepass', password] })
    onTestFinished(() => other.stop())
    const monitor = ['MONITOR', 'others', other.host, `${other.port}`, '2']
    for (const each of plain.sentinels) await plain.ask(each, (raw) => raw.call('SENTINEL', ...monitor))
    const redis = connect(urlOf(plain.places, withPassword).replace('name=orders', 'name=others'))
    await publish(redis)
    const publisherOf = async () => {
      const list = await plain.ask(other, (raw) => raw.client('LIST') as Promise<string>)
      return /id=(\d+) .*cmd=xadd/.exec(list)?.[1]
    }
    const before = await publisherOf()
    await plain.failOver()
    await publish(redis)
    expect([before, await publisherOf()]).toEqual([expect.any(String), before])
    for (const each of plain.sentinels) await plain.ask(each, (raw) => raw.call('SENTINEL', 'REMOVE', 'others'))
  }, 40_000)

  test.each([
    ['is noticed', undefined],
    ['is not waited for with failoverDetector: false', false],
  ])(
    'behind a primary that hangs %s',
    async (_name, failoverDetector) => {
      await plain.whole()
      const redis = connectIoredis(urlOf(plain.places), {
        sentinelPassword,
        ...(failoverDetector !== undefined && { failoverDetector }),
        socketTimeout: 60_000,
        commandTimeout: 60_000,
      })
      await publish(redis)
      let published: Promise<unknown> = Promise.resolve()
      const old = await plain.fails((server) => {
        server.kill('SIGSTOP')
        published = publish(redis).then(() => 'published')
      })
      const end = await Promise.race([published, new Promise((r) => setTimeout(r, 1_500, 'waits'))])
      old.kill('SIGCONT')
      expect(end).toBe(failoverDetector === false ? 'waits' : 'published')
      await published.catch(() => {})
      await plain.whole()
    },
    40_000,
  )

  test('is noticed by a sentinel that was gone and came back', async () => {
    await plain.whole()
    const only = plain.sentinels[0] as Watched['sentinels'][number]
    const redis = connectIoredis(urlOf([only]), { sentinelPassword })
    await publish(redis)
    const before = await plain.primary()
    await only.restart()
    await plain.whole()
    await vi.waitUntil(
      async () => {
        const list = await plain.ask(only, (raw) => raw.client('LIST') as Promise<string>)
        return list.includes('cmd=subscribe')
      },
      { timeout: 10_000 },
    )
    await plain.failOver()
    await plain.whole()
    expect(await messageOf(publish(redis))).toBe('it succeeded')
    expect(await plain.primary()).not.toBe(before)
  }, 40_000)
})
