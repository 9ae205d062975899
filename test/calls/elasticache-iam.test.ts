import { createHash, createHmac } from 'node:crypto'
import { createRequire } from 'node:module'
import { Redis } from 'ioredis'
import { Redis as Redis5 } from 'ioredis5'
import { connectIoredis } from 'millrace/ioredis'
import { iamAuth, iamToken } from 'millrace/lambda'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { createAppender } from '../../src/group/redis/append.ts'
import { startRedisServer } from '../../tools/redis-server.ts'

const NOW = Date.UTC(2030, 0, 2, 3, 4, 5)
const MINUTE = 60_000

beforeEach(() => {
  vi.useFakeTimers({ now: NOW, toFake: ['Date'] })
  vi.stubEnv('AWS_REGION', 'eu-west-1')
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'AKIDEXAMPLE')
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY')
  vi.stubEnv('AWS_SESSION_TOKEN', 'session/token+of=Lambda')
})

afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllEnvs()
})

describe('iamToken()', () => {
  test('is a presigned request to connect, without its protocol', () => {
    const token = iamToken({ userId: 'orders-poller', cacheName: 'Orders' })

    const { host, pathname, searchParams } = new URL(`https://${token}`)
    expect([host, pathname]).toEqual(['orders', '/'])
    expect(Object.fromEntries(searchParams)).toEqual({
      Action: 'connect',
      User: 'orders-poller',
      'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
      'X-Amz-Credential': 'AKIDEXAMPLE/20300102/eu-west-1/elasticache/aws4_request',
      'X-Amz-Date': '20300102T030405Z',
      'X-Amz-Expires': '900',
      'X-Amz-Security-Token': 'session/token+of=Lambda',
      'X-Amz-SignedHeaders': 'host',
      'X-Amz-Signature': expect.stringMatching(/^[0-9a-f]{64}$/),
    })
  })

  test.each([
    { userId: 'orders-poller', cacheName: 'orders' },
    { userId: "o'r(d)e*r!s ü", cacheName: 'Orders', region: 'us-east-1' },
    { userId: 'orders', cacheName: 'orders', service: 'memorydb' },
    { userId: 'orders', cacheName: 'orders', serverless: true },
  ] as const)("has the signature that AWS's own signer gives: %j", async (options) => {
    expect(iamToken(options)).toSatisfy(sameParameters(await signedByAws(options)))
  })

  test('does without a session token where the environment has none', async () => {
    vi.stubEnv('AWS_SESSION_TOKEN', undefined)
    const options = { userId: 'orders', cacheName: 'orders' }

    expect(iamToken(options)).toSatisfy(sameParameters(await signedByAws(options)))
  })

  test.each([
    [{ cacheName: 'orders' }, 'userId must be a string'],
    [{ userId: 'u', cacheName: '' }, 'cacheName must be a string that is not empty'],
    [{ userId: 'u', cacheName: 'c', service: 's3' }, 'service must be one of'],
    [{ userId: 'u', cacheName: 'c', host: 'h' }, 'unknown option "host"'],
  ])('refuses %j', (options, message) => {
    expect(() => iamToken(options as never)).toThrow(`Cannot sign in with IAM: ${message}`)
  })

  test.each(['AWS_REGION', 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'])(
    'refuses an environment without %s',
    (name) => {
      vi.stubEnv(name, undefined)

      expect(() => iamToken({ userId: 'u', cacheName: 'c' })).toThrow(/^Cannot sign in with IAM: (region|AWS_)/)
    },
  )
})

describe('iamAuth()', () => {
  const options = { userId: 'orders-poller', cacheName: 'orders' }

  test.each([
    ['connectIoredis(url, …)', (url: string) => connectIoredis(url, iamAuth(options))],
    [
      'a client of ioredis 5',
      (url: string) => connectIoredis(() => new Redis5(url, { ...iamAuth(options), commandTimeout: 5_000 })),
    ],
  ])('signs %s in anew with a token of its own at each connect', async (_name, connect) => {
    const server = await startRedisServer()
    const admin = new Redis(server.url)
    const redis = connect(server.url)
    onTestFinished(async () => {
      await redis.close()
      admin.disconnect()
      await server.stop()
    })
    const accept = (token: string) => admin.acl('SETUSER', options.userId, 'reset', 'on', `>${token}`, '~*', '+@all')
    const append = () => createAppender('append', redis)('orders', [[['type', 'OrderPaid']]], { kind: 'none' })
    // the client is made when it is first used
    vi.setSystemTime(NOW + 30 * MINUTE)
    await accept(iamToken(options))

    const first = await append()
    vi.setSystemTime(NOW + 60 * MINUTE)
    await accept(iamToken(options))
    await admin.client('KILL', 'USER', options.userId)
    const second = await append()

    expect([first, second].map(({ answers }) => answers)).toEqual([[expect.any(String)], [expect.any(String)]])
  })
})

interface TokenOptions {
  readonly userId: string
  readonly cacheName: string
  readonly region?: string
  readonly service?: string
  readonly serverless?: boolean
}

/** The same by the signer of the AWS SDK. */
async function signedByAws(options: TokenOptions): Promise<string> {
  const { userId, cacheName, region = 'eu-west-1', service = 'elasticache', serverless = false } = options
  // it comes with the SDK's clients
  const { SignatureV4 } = createRequire(createRequire(import.meta.url).resolve('@aws-sdk/client-lambda'))(
    '@smithy/signature-v4',
  )
  const host = cacheName.toLowerCase()
  const signer = new SignatureV4({ service, region, sha256: Sha256, credentials: credentials() })
  const { query } = await signer.presign(
    {
      method: 'GET',
      protocol: 'https:',
      hostname: host,
      path: '/',
      headers: { host },
      query: { Action: 'connect', User: userId, ...(serverless && { ResourceType: 'ServerlessCache' }) },
    },
    { expiresIn: 900, signingDate: new Date() },
  )
  return `${host}/?${new URLSearchParams(query)}`
}

function credentials() {
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN } = process.env
  return {
    accessKeyId: AWS_ACCESS_KEY_ID,
    secretAccessKey: AWS_SECRET_ACCESS_KEY,
    ...(AWS_SESSION_TOKEN && { sessionToken: AWS_SESSION_TOKEN }),
  }
}

/** What the signer hashes with. */
class Sha256 {
  readonly #hash

  constructor(secret?: string | Uint8Array) {
    this.#hash = secret === undefined ? createHash('sha256') : createHmac('sha256', secret)
  }

  update(data: string | Uint8Array): void {
    this.#hash.update(data)
  }

  async digest(): Promise<Uint8Array> {
    return this.#hash.digest()
  }
}

function sameParameters(expected: string) {
  const parts = (token: string) => {
    const { host, pathname, searchParams } = new URL(`https://${token}`)
    return JSON.stringify([host, pathname, [...searchParams].sort(([a], [b]) => (a < b ? -1 : 1))])
  }
  return (token: string) => parts(token) === parts(expected)
}
