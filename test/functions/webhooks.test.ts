import { once } from 'node:events'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createServer as createTcpServer } from 'node:net'
import { text } from 'node:stream/consumers'
import type { HandlerContext } from 'millrace'
import { createPublisher, poll } from 'millrace'
import type { MemoryConnection } from 'millrace/testing'
import { connectMemory, createHandlerContext, effectsOf } from 'millrace/testing'
import { Webhook } from 'standardwebhooks'
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import type { WebhookEvent } from '../../functions/events/webhooks.ts'

const { resolve4, resolve6, resolvers, keys, sent } = vi.hoisted(() => {
  process.env.REDIS_URL = 'redis://127.0.0.1:1'
  process.env.WEBHOOKS_ALLOWED = '127.0.0.1'
  process.env.WEBHOOKS_TIMEOUT_MS = '300'
  return {
    resolve4: vi.fn<(name: string) => Promise<string[]>>(),
    resolve6: vi.fn<(name: string) => Promise<string[]>>(),
    /** What resolvers were made with. */
    resolvers: [] as unknown[],
    /** What Redis has: a hash or a sorted set each, a text under `''`. */
    keys: new Map<string, Map<string, string>>(),
    sent: [] as (readonly (string | number)[])[],
  }
})

vi.mock('node:dns/promises', () => ({
  Resolver: class {
    resolve4 = resolve4
    resolve6 = resolve6

    constructor(options: unknown) {
      resolvers.push(options)
    }
  },
}))
vi.mock('../../functions/shared/redis.ts', async () => {
  const { connectMemory: connect } = await import('millrace/testing')
  return { redis: connect() }
})
vi.mock('../../functions/shared/ask.ts', async (importActual) => {
  const of = (key: string) => keys.get(key) ?? keys.set(key, new Map()).get(key) ?? new Map<string, string>()
  const COMMANDS: Record<string, (key: string, ...args: string[]) => unknown> = {
    HMGET: (key, ...fields) => fields.map((field) => of(key).get(field) ?? null),
    HGET: (key, field = '') => of(key).get(field) ?? null,
    GET: (key) => of(key).get('') ?? null,
    ZSCORE: (key, member = '') => of(key).get(member) ?? null,
    HGETALL: (key) => [...of(key)].flat(),
    HINCRBY: (key, field = '', by = '') => {
      const value = Number(of(key).get(field) ?? 0) + Number(by)
      of(key).set(field, String(value))
      return value
    },
  }
  const ask = async (commands: [name: string, key: string, ...args: string[]][]) => {
    sent.push(...commands)
    return commands.map(([name, ...args]) => COMMANDS[name]?.(...args) ?? null)
  }
  return { ...(await importActual<object>()), createAsk: () => ask }
})

const { addressesOf, isAllowed } = await import('../../functions/webhooks/addresses.ts')
const { retryAfterMs, verdictOf } = await import('../../functions/webhooks/outcomes.ts')
const { post } = await import('../../functions/webhooks/post.ts')
const { deliver } = await import('../../functions/webhooks/deliver.ts')
const { saveEndpoint } = await import('../../functions/webhooks/table.ts')
const { handler: read } = await import('../../functions/webhooks/read.ts')
const { redis } = await import('../../functions/shared/redis.ts')
const { announce } = await import('../../functions/webhooks/publisher.ts')
const { noteFailure } = await import('../../functions/webhooks/pause.ts')
const { delivery } = await import('../../functions/webhooks/consumer.ts')
const { WebhookDue } = await import('../../functions/events/webhooks.ts')

const SECRETS = ['first', 'second'].map((text) => `whsec_${Buffer.from(text).toString('base64')}`)
const NONE = new AbortController().signal

/** A server of the listed address, for as long as the test runs. */
async function serve(listener: (request: IncomingMessage, response: ServerResponse) => unknown): Promise<URL> {
  const server = createServer((request, response) => void listener(request, response))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`)
}

beforeEach(() => {
  vi.resetAllMocks()
  resolve6.mockRejectedValue(new Error('none'))
  keys.clear()
  sent.length = 0
})

describe('addresses', () => {
  test.each([
    ['private', '10.1.2.3', '172.16.0.1', '192.168.1.1', 'fc00::1', 'fd00:ec2::254'],
    ['loopback', '127.0.0.2', '127.255.255.254', '::1', '0.0.0.0', '::'],
    ['link-local, the metadata service', '169.254.169.254', '169.254.170.2', 'fe80::1', 'fec0::1'],
    ['IPv4 in IPv6', '::ffff:169.254.169.254', '::ffff:a9fe:a9fe', '::ffff:10.0.0.1', '::7f00:2'],
    ['translated', '64:ff9b::a9fe:a9fe', '64:ff9b:1::a00:1', '2002:a00:1::', '2001:0:1::1', '::ffff:0:a00:1'],
    [
      'shared and reserved',
      '100.64.0.1',
      '192.0.0.1',
      '192.0.2.1',
      '198.18.0.1',
      '203.0.113.9',
      '240.0.0.1',
      '2001:db8::1',
    ],
    ['of many', '224.0.0.1', '255.255.255.255', 'ff02::1'],
    ['no address', '', 'example.com', '127.1', '1.2.3.4.5', 'fe80::1%eth0'],
  ])('refuses %s', (_what, ...addresses) => {
    expect(addresses.filter(isAllowed)).toEqual([])
  })

  test('allows public ones, and those on the list', () => {
    const addresses = ['93.184.215.14', '2606:4700:4700::1111', '::ffff:93.184.215.14', '127.0.0.1']

    expect(addresses.filter(isAllowed)).toEqual(addresses)
  })

  test.each([
    'https://2852039166/',
    'https://0xa9.254.169.254/',
    'https://0251.0376.0251.0376/',
    'https://169.16689662/',
    'https://[::ffff:a9fe:a9fe]/',
    'https://[::ffff:169.254.169.254]/',
    'https://①⑥⑨.254.169.254/',
    'https://user@169.254.169.254:80/',
  ])('know the metadata service as %s', async (url) => {
    await expect(addressesOf(new URL(url))).rejects.toThrow('the endpoint has an address that is not public')
    expect(resolve4).not.toHaveBeenCalled()
  })

  test('refuse a name that has one among its addresses that is not public', async () => {
    resolve4.mockResolvedValue(['93.184.215.14'])
    resolve6.mockResolvedValue(['::ffff:10.0.0.1'])

    await expect(addressesOf(new URL('https://shop.example/'))).rejects.toMatchObject({ code: 'ERR_NON_RETRYABLE' })
  })

  test('are asked for again where a name has none now', async () => {
    resolve4.mockRejectedValue(new Error('ENOTFOUND'))

    expect(await post(new URL('https://shop.example/'), '', {}, NONE)).toEqual({ status: 'unreachable' })
  })

  test('are looked up once: what the name says after that changes nothing', async () => {
    const url = await serve((_request, response) => response.writeHead(204).end())
    url.hostname = 'rebound.example'
    resolve4.mockResolvedValueOnce(['127.0.0.1']).mockResolvedValue(['169.254.169.254'])

    expect(await post(url, '', {}, NONE)).toMatchObject({ status: 204 })
    expect(resolve4).toHaveBeenCalledTimes(1)
    expect(await post(url, '', {}, NONE)).toEqual({ status: 'forbidden' })
  })

  test('are asked of name servers that give up after some seconds', () => {
    expect(resolvers[0]).toEqual({ timeout: 2_000, tries: 2 })
  })

  test('of the list are asked over http: as well, unless others are among them', async () => {
    resolve4.mockResolvedValue(['127.0.0.1', '93.184.215.14'])

    await expect(addressesOf(new URL('http://shop.example/'))).rejects.toThrow('the endpoint is not https:')
    await expect(addressesOf(new URL('ftp://127.0.0.1/'))).rejects.toThrow('the endpoint is not https:')
    expect(await addressesOf(new URL('http://127.0.0.1/'))).toEqual(['127.0.0.1'])
  })

  test('but for those on the list, are asked over https: only', async () => {
    resolve4.mockResolvedValue(['93.184.215.14'])

    for (const url of ['http://shop.example/', 'ftp://shop.example/', 'file:///etc/passwd'])
      await expect(addressesOf(new URL(url)), url).rejects.toThrow('the endpoint is not https:')
    expect(await addressesOf(new URL('https://shop.example/'))).toEqual(['93.184.215.14'])
  })

  test('of loopback are refused without the list, ahead of any connection', async () => {
    let connections = 0
    const url = await serve((_request, response) => response.end())
    const probe = await serve(() => connections++)
    vi.resetModules()
    vi.stubEnv('WEBHOOKS_ALLOWED', '')
    const guarded = await import('../../functions/webhooks/post.ts')
    vi.unstubAllEnvs()

    for (const to of [url, probe]) expect(await guarded.post(to, '', {}, NONE)).toEqual({ status: 'forbidden' })
    expect(connections).toBe(0)
  })
})

describe('post()', () => {
  test('follows no redirect', async () => {
    const paths: (string | undefined)[] = []
    const url = await serve((request, response) => {
      paths.push(request.url)
      response.writeHead(307, { location: '/elsewhere' }).end()
    })

    expect(await post(url, '{}', {}, NONE)).toMatchObject({ status: 307 })
    expect(paths).toEqual(['/hook'])
  })

  test('has a connection of its own, whose address was checked for it', async () => {
    const ports = new Set<number | undefined>()
    const url = await serve((request, response) => {
      ports.add(request.socket.remotePort)
      response.end()
    })
    await post(url, '', {}, NONE)
    await post(url, '', {}, NONE)

    expect(ports.size).toBe(2)
  })

  test('sends all of a body, by its bytes', async () => {
    const bodies: string[] = []
    const url = await serve(async (request, response) => {
      bodies.push(await text(request))
      response.end()
    })
    await post(url, '{"a":"äöü€"}', {}, NONE)

    expect(bodies).toEqual(['{"a":"äöü€"}'])
  })

  test('reads 64 KB of a response, and no more', async () => {
    let written = 0
    const url = await serve((_request, response) => {
      response.writeHead(200)
      const write = () => {
        while (!response.destroyed && response.write('x'.repeat(16_384))) written += 16_384
      }
      response.on('drain', write)
      write()
    })

    expect(await post(url, '{}', {}, AbortSignal.timeout(5_000))).toMatchObject({ status: 200 })
    // beside what sockets hold
    expect(written).toBeLessThan(16_777_216)
  })

  test.each([
    ['never answers', () => {}, 'timeout'],
    ['says how it went, and never ends', ((_, response) => response.writeHead(200).write('x')) as RequestListener, 200],
    [
      'breaks off in its body',
      ((request, response) =>
        void response.writeHead(200).write('x', () => setImmediate(() => request.socket.destroy()))) as RequestListener,
      200,
    ],
    ['ends the connection', ((request) => request.socket.destroy()) as RequestListener, 'unreachable'],
  ] as const)('has an answer where a server %s', async (_what, listener, status) => {
    const url = await serve(listener)

    expect(await post(url, '{}', {}, AbortSignal.timeout(200))).toMatchObject({ status })
  })

  test.each([
    ['switches protocols, which nobody asked for', 'HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nx', 101],
    ['says again and again that it goes on', 'HTTP/1.1 100 X\r\n\r\n'.repeat(100), 'timeout'],
    ['speaks something else', 'SSH-2.0-OpenSSH\r\n', 'unreachable'],
    ['has headers without an end', `HTTP/1.1 200 X\r\n${'a: b\r\n'.repeat(20_000)}`, 'unreachable'],
  ] as const)('has an answer where a server %s', async (_what, bytes, status) => {
    const closed = Promise.withResolvers<void>()
    const server = createTcpServer((socket) => {
      socket.on('error', () => {}).once('data', () => socket.write(bytes))
      socket.on('close', () => closed.resolve())
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    onTestFinished(() => void server.close())
    const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`)

    expect(await post(url, '{}', {}, AbortSignal.timeout(200))).toEqual({ status })
    await closed.promise
  })

  test('waits for a name no longer than for a server', async () => {
    resolve4.mockReturnValue(new Promise(() => {}))
    const url = new URL('https://shop.example/')

    expect(await post(url, '', {}, AbortSignal.timeout(50))).toEqual({ status: 'timeout' })
    expect(await post(url, '', {}, AbortSignal.abort())).toEqual({ status: 'timeout' })
  })

  test('has one where nobody listens', async () => {
    const url = await serve(() => {})
    url.port = '1'

    expect(await post(url, '{}', {}, NONE)).toEqual({ status: 'unreachable' })
  })
})

test.each<[string, (number | 'timeout' | 'unreachable' | 'forbidden')[]]>([
  ['done', [200, 201, 202, 204, 299]],
  ['retry', [408, 425, 429, 500, 502, 503, 504, 599, 'timeout', 'unreachable']],
  ['refused', [101, 300, 301, 302, 304, 307, 308, 400, 401, 403, 404, 409, 413, 422, 'forbidden']],
  ['gone', [410]],
])('verdictOf() is %s of %j', (verdict, statuses) => {
  expect(statuses.filter((status) => verdictOf({ status }) !== verdict)).toEqual([])
})

test.each([
  ['2', 2_000],
  ['0', 1_000],
  ['999999999', 86_400_000],
  ['Sun, 06 Nov 1994 08:49:37 GMT', 37_000],
  ['Sun, 06 Nov 1994 08:48:00 GMT', 1_000],
  ['Sun, 06 Nov 2094 08:48:00 GMT', 86_400_000],
  ['Sunday, 06-Nov-94 08:49:37 GMT', 37_000],
  ['Sun Nov  6 08:49:37 1994', 37_000],
  ['Wed Nov 16 08:49:37 1994', 86_400_000],
  ['Sun Nov  6 08:49:37 94', undefined],
  ['', undefined],
  ['soon', undefined],
  ['-5', undefined],
  ['1.5', undefined],
  ['1994-11-06', undefined],
  ['Sun, 99 Nov 1994 08:49:37 GMT', undefined],
] as const)('Retry-After: %s is %s ms', (retryAfter, ms) => {
  expect(retryAfterMs({ status: 503, retryAfter }, Date.UTC(1994, 10, 6, 8, 49))).toBe(ms)
})

describe('deliver()', () => {
  const event = {
    type: 'WebhookDue',
    version: 1,
    eventId: 'e-1',
    occurredAt: '2026-01-02T03:04:05.000Z',
    payload: { merchantId: 'm-1', type: 'order.paid', data: { orderId: 'o-1' } },
  } as WebhookEvent
  const day = new Date().toISOString().slice(0, 10)
  const SENT = '{webhooks}:sent:m-1:e-1'
  const STATS = `{webhooks}:stats:m-1:${day}`

  /** @returns What it threw, and its effects. */
  async function run(one: WebhookEvent = event, more: Partial<HandlerContext> = {}) {
    const entryId = `${Date.now() - 1_200}-0`
    const context = createHandlerContext({ stream: 'webhooks', group: 'delivery', entryId, ...more })
    const error = await deliver(one, context as HandlerContext).then(
      () => undefined,
      (thrown: Error) => thrown,
    )
    return { error, commands: effectsOf(context).map((command) => command.join(' ')) }
  }
  const endpoint = (url: URL, more: Record<string, string> = {}) =>
    keys.set('{webhooks}:endpoint:m-1', new Map(Object.entries({ url: url.href, secrets: SECRETS.join(' '), ...more })))

  test('signs what it sends by every secret, the same body at each attempt', async () => {
    const got: { headers: Record<string, string>; body: string }[] = []
    const url = await serve((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        got.push({ headers: request.headers as Record<string, string>, body: Buffer.concat(chunks).toString() })
        response.writeHead(204).end()
      })
    })
    endpoint(url)
    await run()
    await run()

    expect(got.map(({ body }) => body)).toEqual(
      Array(2).fill('{"type":"order.paid","timestamp":"2026-01-02T03:04:05.000Z","data":{"orderId":"o-1"}}'),
    )
    expect(got[0]?.headers).toMatchObject({ 'webhook-id': 'e-1', 'content-type': 'application/json' })
    for (const { headers, body } of got)
      for (const secret of SECRETS)
        expect(new Webhook(secret).verify(body, headers)).toMatchObject({ data: { orderId: 'o-1' } })
    expect(() => new Webhook(SECRETS[0] as string).verify('{}', got[0]?.headers ?? {})).toThrow('No matching signature')
  })

  test('counts what is delivered in the step that acknowledges it', async () => {
    endpoint(await serve((_request, response) => response.writeHead(202).end()))

    expect(await run()).toEqual({
      error: undefined,
      commands: [
        `HINCRBY ${STATS} answer:202 1`,
        `PEXPIRE ${STATS} 2592000000`,
        `HINCRBY ${STATS} within:2500 1`,
        `DEL ${SENT}`,
      ],
    })
    expect(sent.at(-1)).toEqual(['SET', SENT, expect.stringMatching(/^202 \d+$/), 'PX', 172_800_000])
  })

  test('sends nothing that was answered before the process died', async () => {
    let requests = 0
    endpoint(await serve(() => requests++))
    keys.set(SENT, new Map([['', `200 ${Date.now()}`]]))

    expect((await run()).commands).toContain(`HINCRBY ${STATS} answer:200 1`)
    expect(requests).toBe(0)
  })

  test('forgets failures once the endpoint works', async () => {
    endpoint(await serve((_request, response) => response.end()))
    keys.set('{webhooks}:failures', new Map([['m-1', '3']]))

    expect((await run()).commands.at(-1)).toBe('HDEL {webhooks}:failures m-1')
  })

  test.each([
    [400, 'ERR_NON_RETRYABLE', undefined],
    [302, 'ERR_NON_RETRYABLE', undefined],
    [503, undefined, undefined],
    [429, 'ERR_RETRY_AFTER', 7_000],
  ] as const)('of %s fails with %s, and counts it', async (status, code, retryAfter) => {
    const headers = retryAfter ? { 'retry-after': String(retryAfter / 1_000) } : {}
    endpoint(await serve((_request, response) => response.writeHead(status, headers).end()))
    const { error, commands } = await run()

    expect(error?.message).toBe(`the endpoint answered ${status}`)
    expect((error as { code?: string }).code).toBe(code)
    expect((error as { retryAfterMs?: number }).retryAfterMs).toBe(retryAfter)
    expect(commands).toEqual([])
    expect(keys.get(STATS)?.get(`answer:${status}`)).toBe('1')
    expect(keys.get('{webhooks}:failures')?.get('m-1')).toBe(code === 'ERR_NON_RETRYABLE' ? undefined : '1')
  })

  test.each([
    [1, '0', 5_000],
    [1, '7', 7_000],
    [4, '7', 320_000],
    [9, '1', 14_400_000],
    [9, '20000', 20_000_000],
  ])('of delivery %i waits no less than its back-off, if asked for %s s', async (deliveryCount, retryAfter, ms) => {
    endpoint(await serve((_request, response) => response.writeHead(503, { 'retry-after': retryAfter }).end()))

    expect((await run(event, { deliveryCount })).error).toMatchObject({ retryAfterMs: ms })
  })

  test('that is aborted is no failure of the merchant', async () => {
    // the request hears of it, not only its own time limit
    vi.spyOn(AbortSignal, 'timeout').mockReturnValue(NONE)
    onTestFinished(() => void vi.restoreAllMocks())
    const stop = new AbortController()
    endpoint(await serve(() => stop.abort(new Error('the run ends'))))

    expect((await run(event, { signal: stop.signal })).error?.message).toBe('the run ends')
    expect([keys.get('{webhooks}:failures')?.get('m-1'), keys.get(STATS)]).toEqual([undefined, undefined])
  })

  test('of one id reaches two merchants', async () => {
    const told: (string | undefined)[] = []
    const url = await serve((request, response) => {
      told.push(request.url)
      response.end()
    })
    for (const name of ['m-1', 'm-2'])
      keys.set(
        `{webhooks}:endpoint:${name}`,
        new Map([
          ['url', `${url.origin}/${name}`],
          ['secrets', SECRETS[0] as string],
        ]),
      )
    const redis = connectMemory()
    const shop = createPublisher({ stream: 'webhooks', redis })
    for (const merchantId of ['m-1', 'm-2', 'm-1'])
      await shop.publish(WebhookDue, { merchantId, type: 'order.paid', data: {} }, { eventId: 'order-7' })

    expect(await poll(delivery, { redis, mode: 'drain' })).toMatchObject({ acked: 3, duplicates: 1 })
    expect(new Set(told)).toEqual(new Set(['/m-1', '/m-2']))
    expect(told).toHaveLength(2)
  })

  describe('leaves what waits alone', () => {
    const ofOne = Array.from({ length: 8 }, () => 'm-1')

    /** A run with an event for each; of one merchant more than are sent side by side. */
    async function runFor(merchantIds: readonly string[], redis = connectMemory()) {
      const shop = createPublisher({ stream: 'webhooks', redis })
      await shop.publishMany(
        merchantIds.map((merchantId) => [WebhookDue, { merchantId, type: 'order.paid', data: {} }] as const),
      )
      return poll(delivery, { redis, mode: 'drain' })
    }

    test.each([
      [60_000, { acked: 0, retried: 0, parked: 8 }],
      [-1, { acked: 8, retried: 0, parked: 0 }],
    ])('where Redis says so, until that is over: %i ms', async (ms, expected) => {
      const redis = connectMemory()
      await redis.group(delivery).ask([['ZADD', '{webhooks}:paused', Date.now() + ms, 'm-1']])
      endpoint(await serve((_request, response) => response.end()))

      expect(await runFor(ofOne, redis)).toMatchObject(expected)
    })

    test('of that merchant, and of no other', async () => {
      endpoint(await serve((_request, response) => response.writeHead(503, { 'retry-after': '60' }).end()))
      const other = await serve((_request, response) => void setImmediate(() => response.end()))
      keys.set(
        '{webhooks}:endpoint:m-2',
        new Map([
          ['url', other.href],
          ['secrets', SECRETS[0] as string],
        ]),
      )

      expect(await runFor(['m-1', ...Array.from({ length: 12 }, () => 'm-2')])).toMatchObject({ acked: 12, retried: 1 })
    })

    test('where a call failed, at no delivery', async () => {
      endpoint(await serve((_request, response) => response.writeHead(503, { 'retry-after': '60' }).end()))

      const { retried, parked } = await runFor(ofOne)
      expect(retried + parked).toBe(8)
      expect(parked).toBeGreaterThanOrEqual(3)
    })

    test('also where a request succeeds that began before', async () => {
      endpoint(await serve((_request, response) => void noteFailure('m-1', 60_000).then(() => response.end())))

      expect(await runFor(ofOne)).toMatchObject({ read: 8, acked: 1, parked: 7 })
    })

    test('unless an earlier run noted that', async () => {
      await noteFailure('m-1', 60_000)
      endpoint(await serve((_request, response) => response.writeHead(400).end()))

      expect(await runFor(ofOne)).toMatchObject({ read: 8, deadLettered: 8 })
    })
  })

  test('times out, which is a failure as any', async () => {
    endpoint(await serve(() => {}))

    expect((await run()).error?.message).toBe('the endpoint answered timeout')
  })

  test('leaves a merchant alone ever longer, also if it asks for a second each time', async () => {
    endpoint(await serve((_request, response) => response.writeHead(503, { 'retry-after': '1' }).end()))
    for (let time = 0; time < 7; time++) await run()
    const pauses = sent.filter(([name]) => name === 'ZADD').map(([, , , until]) => Number(until) - Date.now())

    expect(pauses.map((ms) => Math.round(ms / 1_000)).slice(-4)).toEqual([1, 10, 20, 40])
  })

  test('leaves a merchant alone as long as it asks, and ever longer after five failures', async () => {
    const headers: Record<string, string>[] = [...Array.from({ length: 13 }, () => ({})), { 'retry-after': '5000' }]
    endpoint(await serve((_request, response) => response.writeHead(503, headers.shift()).end()))
    for (let time = 0; time < 14; time++) await run()
    const pauses = sent
      .filter(([name]) => name === 'ZADD')
      .map(([, key, how, until, merchantId]) => {
        expect([key, how, merchantId]).toEqual(['{webhooks}:paused', 'GT', 'm-1'])
        return Math.round((Number(until) - Date.now()) / 10_000)
      })

    expect(pauses).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60, 500])
  })

  test('of 410 disables the endpoint, unless it was moved; then nothing is sent', async () => {
    const url = await serve((_request, response) => response.writeHead(410).end())
    endpoint(url)
    const { error, commands } = await run()

    expect(error).toBeUndefined()
    expect(commands).toEqual([
      `HINCRBY ${STATS} answer:410 1`,
      `PEXPIRE ${STATS} 2592000000`,
      `HGET {webhooks}:endpoint:m-1 url is ${url.href}`,
      expect.stringMatching(/^HSET \{webhooks\}:endpoint:m-1 disabledAt \d+$/),
    ])
    endpoint(url, { disabledAt: '1' })
    expect((await run()).commands).toEqual([`HINCRBY ${STATS} answer:disabled 1`, `PEXPIRE ${STATS} 2592000000`])
  })

  test.each([
    ['the merchant has no endpoint', event, false],
    ['the event id is none for a header', { ...event, eventId: 'a.b\n' } as WebhookEvent, true],
  ])('refuses for good: %s', async (message, one, hasEndpoint) => {
    if (hasEndpoint) endpoint(await serve((_request, response) => response.end()))

    expect((await run(one)).error).toMatchObject({ code: 'ERR_NON_RETRYABLE', message })
  })
})

describe('saveEndpoint()', () => {
  test.each<[string, string, readonly string[], string?]>([
    ['no URL', 'shop', SECRETS],
    ['what is not asked over https:', 'ftp://shop.example', SECRETS],
    ['what is no address', 'javascript:alert(1)', SECRETS],
    ['an empty secret', 'https://shop.example', ['whsec_']],
    ['two secrets in one', 'https://shop.example', [SECRETS.join(' ')]],
    ['no secret', 'https://shop.example', []],
    ['an id that no event has', 'https://shop.example', SECRETS, 'm:1'],
  ])('refuses %s', async (_what, url, secrets, merchantId = 'm-1') => {
    await expect(saveEndpoint(merchantId, url, ...secrets)).rejects.toThrow()
    expect(sent).toEqual([])
  })

  test('has a merchant asked again that was disabled, or left alone', async () => {
    await saveEndpoint('m-1', 'https://shop.example', ...SECRETS)

    expect(sent).toEqual([
      ['HSET', '{webhooks}:endpoint:m-1', 'url', 'https://shop.example/', 'secrets', SECRETS.join(' ')],
      ['HDEL', '{webhooks}:endpoint:m-1', 'disabledAt'],
      ['HDEL', '{webhooks}:failures', 'm-1'],
      ['ZREM', '{webhooks}:paused', 'm-1'],
    ])
  })
})

test('announce() names the merchant as the aggregate, by which what waits is counted', async () => {
  await announce('m-1', 'order.paid', { orderId: 'o-1' }, 'e-1')
  const [entry] = (redis as MemoryConnection).entries('webhooks')

  expect(Object.fromEntries(entry?.fields ?? [])).toMatchObject({ eventId: 'e-1', aggregateId: 'm-1' })
})

test('the consumer retries for some hours, and drops nothing before two days', () => {
  expect(delivery.settings).toMatchObject({
    mode: 'listen',
    concurrency: 100,
    handlerTimeoutMs: 5_300,
    minIdleMs: 60_000,
    maxDeliveries: 10,
    backoff: { firstMs: 5_000, factor: 4, maxMs: 14_400_000 },
    maxAgeMs: 172_800_000,
  })
})

test.each(['a.b', 'ä', '', 'x'.repeat(129), 'a\n'])('announce() refuses the event id %j', async (eventId) => {
  await expect(announce('m-1', 'order.paid', {}, eventId)).rejects.toThrow('An event id is 1 to 128 letters')
})

describe('read', () => {
  test.each([null, undefined, {}])('answers %j with what waits, and what is dead', async (queryStringParameters) => {
    const { statusCode, body } = await read(queryStringParameters === undefined ? {} : { queryStringParameters })

    expect([statusCode, Object.keys(JSON.parse(body))]).toEqual([200, ['pending', 'unread', 'deadLetters', 'paused']])
  })

  test.each([{ merchantId: 'm:1' }, { merchantId: '' }, { other: '1' }])(
    'refuses %j',
    async (queryStringParameters) => {
      expect(await read({ queryStringParameters })).toMatchObject({ statusCode: 400 })
    },
  )

  test.each([
    [60_000, expect.any(String)],
    [-60_000, null],
  ])('says until when a merchant is left alone, unless that is over: %i ms', async (ms, pausedUntil) => {
    keys.set('{webhooks}:paused', new Map([['m-1', String(Date.now() + ms)]]))

    expect(JSON.parse((await read({ queryStringParameters: { merchantId: 'm-1' } })).body)).toMatchObject({
      pausedUntil,
    })
  })
})
