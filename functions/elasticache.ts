import { createHmac, hash } from 'node:crypto'
import { Redis } from 'ioredis'
import { LAMBDA_OPTIONS } from 'millrace/ioredis'

/** Who signs a token, as Lambda's environment says it. */
export interface Signer {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken: string | undefined
  readonly region: string
}

/** ElastiCache takes no older token, and Redis asks for one at every connection. */
const LIFE_IN_SECONDS = 900

/**
 * Makes a client that logs in by IAM: every connection with a token of its own.
 *
 * @param url Where Redis is, with the user but no password: `rediss://orders-poller-dev@host:6379`.
 * @param createToken Makes the password of one connection.
 */
export function createIamClient(url: string, createToken: () => string): Redis {
  const client = new Redis(url, {
    ...LAMBDA_OPTIONS,
    replyMapping: 'legacy',
    retryStrategy(attempt) {
      client.options.password = createToken()
      return LAMBDA_OPTIONS.retryStrategy(attempt)
    },
  })
  // among the options above, the URL's empty password would win
  client.options.password = createToken()
  return client
}

/**
 * A token that lets a user connect to a cache for the next 15 minutes: a request that is signed, and never sent.
 *
 * @param cache Id of the replication group, in lower case.
 * @see https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html
 */
export function createIamToken(cache: string, user: string, signer: Signer, now: Date): string {
  const time = now.toISOString().replace(/[-:]|\.\d+/g, '')
  const scope = `${time.slice(0, 8)}/${signer.region}/elasticache/aws4_request`
  // no value has a character that a query would escape in another way than a signature wants it
  const query = new URLSearchParams({
    Action: 'connect',
    User: user,
    'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
    'X-Amz-Credential': `${signer.accessKeyId}/${scope}`,
    'X-Amz-Date': time,
    'X-Amz-Expires': String(LIFE_IN_SECONDS),
    ...(signer.sessionToken !== undefined && { 'X-Amz-Security-Token': signer.sessionToken }),
    'X-Amz-SignedHeaders': 'host',
  }).toString()
  const request = ['GET', '/', query, `host:${cache}`, '', 'host', hash('sha256', '')].join('\n')
  const text = ['AWS4-HMAC-SHA256', time, scope, hash('sha256', request)].join('\n')
  const key = scope.split('/').reduce<string | Buffer>(hmac, `AWS4${signer.secretAccessKey}`)
  return `${cache}/?${query}&X-Amz-Signature=${hmac(key, text).toString('hex')}`
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
