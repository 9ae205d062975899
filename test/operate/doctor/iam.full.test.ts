import { Cluster, Redis } from 'ioredis'
import { connectIoredis } from 'millrace/ioredis'
import { iamAuth } from 'millrace/lambda'
import { diagnose } from 'millrace/operate'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import type { Connection } from '../../../src/group/connection.ts'
import { runCheck } from '../../../src/operate/doctor/check.ts'
import { iamCheck } from '../../../src/operate/doctor/checks/iam.ts'
import { freePorts } from '../../../tools/redis-cluster.ts'
import { type PrivateRedis, startRedisServer } from '../../../tools/redis-server.ts'
import { type Certificate, makeCertificate } from '../../support/certificate.ts'
import { startOneNodeCluster } from '../../support/one-node-cluster.ts'

let certificate: Certificate
let server: PrivateRedis
let cluster: PrivateRedis
let tlsPort: number
const auth = () => iamAuth({ userId: 'app', cacheName: 'orders', region: 'eu-central-1' })

beforeAll(async () => {
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'key')
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'secret')
  certificate = await makeCertificate()
  tlsPort = (await freePorts(1))[0] as number
  const { certFile, keyFile } = certificate
  const tls = ['--tls-port', `${tlsPort}`, '--tls-cert-file', certFile, '--tls-key-file', keyFile]
  const ca = ['--tls-ca-cert-file', certFile, '--tls-auth-clients', 'no']
  server = await startRedisServer({ args: [...tls, ...ca] })
  cluster = await startOneNodeCluster()
  for (const { port } of [server, cluster]) {
    const raw = new Redis({ port })
    // takes any token
    await raw.call('ACL', 'SETUSER', 'app', 'on', 'nopass', '~*', '+@all')
    raw.disconnect()
  }
})
afterAll(async () => {
  await Promise.all([server.stop(), cluster.stop()])
  await certificate.remove()
})

async function found(redis: Connection): Promise<string[]> {
  onTestFinished(() => redis.close())
  const findings = await diagnose([], { redis, streams: ['orders'] })
  return findings.filter(({ check }) => check === 'iam').map(({ severity, message }) => `${severity} ${message}`)
}

const NOT_TLS = ['error The connection is not over TLS: sign-in by IAM needs TLS, and Valkey 7.2 or Redis 7.0']

describe('diagnose() of a connection that signs in by IAM', () => {
  test.each<[string, () => Connection, string[]]>([
    ['a URL without TLS', () => connectIoredis(server.url, auth()), NOT_TLS],
    ['a client without TLS', () => connectIoredis(() => new Redis({ port: server.port, ...auth() })), NOT_TLS],
    [
      'a Cluster without TLS',
      () => connectIoredis(() => new Cluster([{ host: '127.0.0.1', port: cluster.port }], { redisOptions: auth() })),
      NOT_TLS,
    ],
    [
      'a URL with TLS',
      () => connectIoredis(`rediss://app@localhost:${tlsPort}?iam=orders`, { ...auth(), tls: { ca: certificate.ca } }),
      [],
    ],
    ['a URL with a password', () => connectIoredis(server.url.replace('://', '://app:p@')), []],
  ])('tells of %s', async (_name, connect, expected) => {
    expect(await found(connect())).toEqual(expected)
  })

  test.each<[object, string[]]>([
    [{ redis_version: '6.2.7' }, ['error Redis 6.2.7 takes no token']],
    [{ redis_version: '7.0.0' }, []],
    [{ redis_version: '7.2.4', valkey_version: '7.2.8' }, []],
    [{ redis_version: '7.2.4', valkey_version: '9.0.0' }, []],
    [{}, ['unknown The server does not report its version']],
  ])('says whether a server of %j takes tokens', (info, expected) => {
    const subject = { signIn: { byIam: true, tls: true } } as never
    const verdicts = runCheck(iamCheck, { info: { value: info as never } }, subject)
    expect(verdicts.map(({ severity, message }) => `${severity} ${message.split(':')[0]}`)).toEqual(expected)
  })
})

test('a refused token says what sign-in by IAM needs', async () => {
  const raw = new Redis({ port: server.port })
  await raw.call('ACL', 'SETUSER', 'none', 'on', '>another', '~*', '+@all')
  raw.disconnect()
  const redis = connectIoredis(server.url, iamAuth({ userId: 'none', cacheName: 'orders', region: 'eu-central-1' }))
  onTestFinished(() => redis.close())
  const refused = diagnose([], { redis, streams: ['orders'] })
  await expect(refused).rejects.toThrow(/^WRONGPASS .*; by IAM a user of type iam .* TLS, to Valkey 7.2 or Redis 7.0$/)
})
