import { createHmac, hash } from 'node:crypto'
import { assertKnownOptions, assertOneOf, assertText } from '../core/options.ts'
import { PASSWORD_MAKER } from '../core/renewed-password.ts'

/** Which cache, and as whom. */
export interface IamAuthOptions {
  /** The user's id, which for IAM is its name as well. */
  readonly userId: string
  /** The replication group, the serverless cache or the MemoryDB cluster: its name, not its host. */
  readonly cacheName: string
  /** Default: `AWS_REGION`. */
  readonly region?: string
  /** Default `elasticache`. */
  readonly service?: 'elasticache' | 'memorydb'
  /** The cache is an ElastiCache serverless one. Default `false`. */
  readonly serverless?: boolean
}

/** What of ioredis' options signs in with IAM: for `connectIoredis(url, iamAuth(…))`, a client of your own, or a Cluster's `redisOptions`. */
export interface IamAuth {
  readonly username: string
  readonly password: string
  /** Waits as `connectIoredis` does, and renews the password: ioredis reads it at each connect. */
  retryStrategy(this: { password?: string | null | undefined }, attempt: number): number
}

/** How long AWS lets a token be used to connect; a connection lasts for up to 12 hours. */
const EXPIRES_SECONDS = 900
const ACTION = 'sign in with IAM'
const NAMES = ['userId', 'cacheName', 'region', 'service', 'serverless']
const ALGORITHM = 'AWS4-HMAC-SHA256'

/**
 * Signs in to ElastiCache or MemoryDB with the function's own role, in place of a password. The role needs `elasticache:Connect` (or
 * `memorydb:connect`) on the cache and on the user, and the connection needs TLS: a URL of `rediss://`.
 *
 * @throws {TypeError} A bad option, or the environment has no region or no credentials.
 * @see https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html
 */
export function iamAuth(options: IamAuthOptions): IamAuth {
  assertKnownOptions(ACTION, options, NAMES)
  return {
    username: options.userId,
    // asked for once per client: one that replaces another must not sign in with the old token
    get password() {
      return iamToken(options)
    },
    retryStrategy: Object.assign(
      function (this: { password?: string | null | undefined }, attempt: number) {
        this.password = iamToken(options)
        return Math.min(50 * attempt, 500)
      },
      { [PASSWORD_MAKER]: () => iamToken(options) },
    ),
  }
}

/**
 * Makes the token that stands for the password: a presigned request without its protocol. It is made here, without asking AWS, from the
 * credentials in the environment, and may be used to connect for 15 minutes.
 *
 * @throws {TypeError} A bad option, or the environment has no region or no credentials.
 * @see https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 */
export function iamToken(options: IamAuthOptions): string {
  const { userId, cacheName, region, service, serverless } = resolve(options)
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN } = process.env
  assertText(ACTION, 'AWS_ACCESS_KEY_ID', AWS_ACCESS_KEY_ID)
  assertText(ACTION, 'AWS_SECRET_ACCESS_KEY', AWS_SECRET_ACCESS_KEY)
  const host = cacheName.toLowerCase()
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, '')
  const scope = [time.slice(0, 8), region, service, 'aws4_request']
  const query = encodeQuery({
    Action: 'connect',
    User: userId,
    ...(serverless && { ResourceType: 'ServerlessCache' }),
    'X-Amz-Algorithm': ALGORITHM,
    'X-Amz-Credential': [AWS_ACCESS_KEY_ID, ...scope].join('/'),
    'X-Amz-Date': time,
    'X-Amz-Expires': `${EXPIRES_SECONDS}`,
    'X-Amz-SignedHeaders': 'host',
    ...(AWS_SESSION_TOKEN && { 'X-Amz-Security-Token': AWS_SESSION_TOKEN }),
  })
  const request = ['GET', '/', query, `host:${host}`, '', 'host', hash('sha256', '')].join('\n')
  const toSign = [ALGORITHM, time, scope.join('/'), hash('sha256', request)].join('\n')
  const key = scope.reduce<string | Buffer>(hmac, `AWS4${AWS_SECRET_ACCESS_KEY}`)
  return `${host}/?${query}&X-Amz-Signature=${hmac(key, toSign).toString('hex')}`
}

function resolve(options: IamAuthOptions): Required<IamAuthOptions> {
  assertKnownOptions(ACTION, options, NAMES)
  const { userId, cacheName, region = process.env.AWS_REGION, service = 'elasticache', serverless = false } = options
  assertText(ACTION, 'userId', userId)
  assertText(ACTION, 'cacheName', cacheName)
  assertText(ACTION, 'region', region)
  assertOneOf(ACTION, 'service', service, ['elasticache', 'memorydb'])
  return { userId, cacheName, region: region as string, service, serverless }
}

/** In the order and with the escapes that signing asks for. */
function encodeQuery(parameters: Readonly<Record<string, string>>): string {
  return Object.entries(parameters)
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join('&')
}

function encode(value: string): string {
  return encodeURIComponent(value).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
}

function hmac(key: string | Buffer, value: string): Buffer {
  return createHmac('sha256', key).update(value).digest()
}
