import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { type AddressInfo, connect as connectTcp } from 'node:net'
import { join } from 'node:path'
import { createServer, type TlsOptions } from 'node:tls'
import { promisify } from 'node:util'
import { Cluster, Redis } from 'ioredis'
import { Cluster as Cluster5, Redis as Redis5 } from 'ioredis5'
import { createPublisher } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import { type Authority, makeAuthority } from '../support/authority.ts'
import { OrderPaid } from '../support/consumer.ts'
import { startOneNodeCluster } from '../support/one-node-cluster.ts'
import { startRestServer } from '../support/rest-server.ts'

type Target = Parameters<typeof connectIoredis>

let authority: Authority
let server: PrivateRedis
let cluster: PrivateRedis
let port: number
let strictPort: number
let clusterPort: number

beforeAll(async () => {
  authority = await makeAuthority()
  server = await startRedisServer()
  cluster = await startOneNodeCluster()
  const { key, cert, ca } = authority
  port = await startTls(server.port, { key, cert })
  strictPort = await startTls(server.port, { key, cert, ca, requestCert: true, rejectUnauthorized: true })
  clusterPort = await startTls(cluster.port, { key, cert })
})
afterAll(async () => {
  await Promise.all([server.stop(), cluster.stop(), rm(authority.dir, { recursive: true })])
  for (const stop of stops) stop()
})

const stops: (() => void)[] = []

/** A TLS server before a plain one. */
async function startTls(target: number, options: TlsOptions): Promise<number> {
  const front = createServer(options, (client) => {
    const redis = connectTcp(target, '127.0.0.1')
    client.pipe(redis).pipe(client)
    for (const socket of [client, redis]) socket.on('error', () => {})
    client.on('close', () => redis.destroy())
  })
  front.on('tlsClientError', () => {})
  front.listen(0, '127.0.0.1')
  await once(front, 'listening')
  stops.push(() => front.close())
  return (front.address() as AddressInfo).port
}

function publish(...target: Target): Promise<unknown> {
  const redis = connectIoredis(...target)
  onTestFinished(() => redis.close())
  return createPublisher({ stream: 'orders', redis }).publish(OrderPaid, { orderId: 'o' } as never)
}

async function messageOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'it succeeded',
    (error: Error) => error.message,
  )
}

const KINDS: Readonly<Record<string, (tls: object, place: { host: string; port: number }) => Target>> = {
  'a URL': (tls, { host, port }) => [`rediss://${host}:${port}/3`, { tls, family: 4 }],
  'ioredis 6': (tls, place) => [() => new Redis({ ...place, maxRetriesPerRequest: 1, db: 3, tls, family: 4 })],
  'ioredis 5': (tls, place) => [
    () => new Redis5({ ...place, maxRetriesPerRequest: 1, db: 3, tls, family: 4 }) as never,
  ],
}

describe.each(Object.entries(KINDS))('TLS over %s', (kind, targetOf) => {
  test('by an address takes the certificate of a private authority', async () => {
    expect(await messageOf(publish(...targetOf({ ca: authority.ca }, { host: '127.0.0.1', port })))).toBe(
      'it succeeded',
    )
  })

  test('by a tunnel takes it by servername, and refuses it without', async () => {
    const { ca } = authority
    const tunnel = { host: 'localhost', port }
    expect(await messageOf(publish(...targetOf({ ca, servername: 'redis.internal' }, tunnel)))).toBe('it succeeded')
    expect(await messageOf(publish(...targetOf({ ca }, tunnel)))).toMatch(/altnames.*set options.tls.servername/)
  })

  test('without the authority is refused, and says what to pass', async () => {
    expect(await messageOf(publish(...targetOf({}, { host: '127.0.0.1', port })))).toContain('options.tls.ca')
  })

  test('shows a client certificate where one is wanted, and is refused without', async () => {
    const { ca, clientKey, clientCert } = authority
    const strict = { host: '127.0.0.1', port: strictPort }
    expect(await messageOf(publish(...targetOf({ ca, key: clientKey, cert: clientCert }, strict)))).toBe('it succeeded')
    // a client of the user's own does not always say
    const says =
      kind === 'a URL' ? /certificate required; pass a client certificate as options.tls.cert/ : /^Cannot reach/
    expect(await messageOf(publish(...targetOf({ ca }, strict)))).toMatch(says)
  })
})

test.each([
  ['6', Cluster],
  ['5', Cluster5],
])('TLS over a Cluster of ioredis %s takes the certificate of a private authority', async (_version, Kind) => {
  const place = { host: '127.0.0.1', port: clusterPort }
  const options = { natMap: { [`127.0.0.1:${cluster.port}`]: place }, redisOptions: { tls: { ca: authority.ca } } }
  expect(await messageOf(publish(() => new Kind([place], options as never) as never))).toBe('it succeeded')
})

test('TLS over REST takes the certificate of a private authority that Node.js trusts', async () => {
  const rest = await startRestServer({ redisUrl: server.url, token: 'the-token' })
  onTestFinished(() => rest.close())
  const { key, cert } = authority
  const restPort = await startTls(Number(new URL(rest.url).port), { key, cert })
  const args = [
    'dist/cli/main.js',
    'status',
    '--stream',
    'orders',
    '--redis',
    `https://:the-token@127.0.0.1:${restPort}`,
  ]
  const run = (env: object) =>
    promisify(execFile)(process.execPath, args, { env: { ...process.env, ...env } }).then(
      ({ stdout }) => stdout,
      ({ stderr }: { stderr: string }) => stderr,
    )
  expect(await run({ NODE_EXTRA_CA_CERTS: join(authority.dir, 'ca.pem') })).toContain('orders')
  expect(await run({})).toMatch(/Cannot reach Upstash: (UNABLE_TO|SELF_SIGNED)/)
})

test('rejectUnauthorized: false takes anybody, by an explicit option alone, and is warned of once', async () => {
  const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  const url = `rediss://127.0.0.1:${port}`
  expect(await messageOf(publish(url))).toContain('options.tls.ca')
  expect(warned).not.toHaveBeenCalled()
  for (let n = 0; n < 2; n++) await publish(url, { tls: { rejectUnauthorized: false } })
  expect(warned).toHaveBeenCalledTimes(1)
})
