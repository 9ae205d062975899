import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Redis, type Requester } from '@upstash/redis'
import { assertKnownKeys, assertObject, wrongUseError } from '../core/options.ts'
import { MillraceError, RedisConnectionError } from '../errors.ts'
import type { Connection } from '../group/connection.ts'
import { createRedisConnection } from '../group/redis/redis-connection.ts'
import { toReplyError } from '../group/redis/reply-errors.ts'
import type { CommandArgument, RedisReply, Transport } from '../group/redis/transport.ts'
import { startDeadline } from './deadline.ts'
import { describeUserFunctionFailure } from './trouble.ts'

/** Where an Upstash database is, and how long to wait for it. */
export interface UpstashOptions {
  /** The REST URL, `https://…`; not the `rediss://` one. */
  readonly url: string
  /** The REST token, or what gives it, as of a secret that rotates; not the read-only one. */
  readonly token: string | (() => string | Promise<string>)
  /** Milliseconds until a request without an answer fails, 1 to 900,000. Default 5,000. */
  readonly commandTimeoutMs?: number
}

const ACTION = 'connect to Upstash'
const CANNOT = `Cannot ${ACTION}`

const defaults = { commandTimeoutMs: 5_000 }

type Request = Requester['request']

/**
 * Connects to an Upstash database over REST.
 *
 * Values are exact as long as they are UTF-8; other bytes are lost to U+FFFD on the way. A request whose answer was lost
 * is sent once more, so an event may be published twice.
 *
 * @param options Or a function that makes the client, which may be asynchronous; called again when the token of its client was refused. That
 *   client must be made with `responseEncoding: false`; its own `signal` is not used.
 * @throws {TypeError} An option is unknown or out of its range, or the client has replies encoded.
 * @see https://upstash.com/docs/redis/features/restapi
 */
export function connectUpstash(options: UpstashOptions | (() => Redis | Promise<Redis>)): Connection {
  return createRedisConnection(createUpstashTransport(options), { maxPendingPerName: 1_000 })
}

/**
 * Each `send` is one `POST /pipeline`, also for one command: there an error reply stands in its command's place, and is
 * never taken for a request that failed.
 *
 * @internal
 */
export function createUpstashTransport(options: UpstashOptions | (() => Redis | Promise<Redis>)): Transport {
  const { commandTimeoutMs } = typeof options === 'function' ? defaults : resolveUpstashOptions(options)
  const make = typeof options === 'function' ? options : clientsOf(options)
  let request: Promise<Request> | undefined
  const connected = () => {
    const client = made(make)
    // a client that is there at once is inspected at once
    request = client instanceof Promise ? client.then(requestOf) : Promise.resolve(requestOf(client))
    request.catch(() => {
      request = undefined
    })
    return request
  }
  if (typeof options === 'function' || typeof options.token === 'string') connected().catch(() => {})
  let closed = false
  return {
    // Without it Upstash runs a script under a lock on the whole database.
    scriptPrefix: '#!lua flags=allow-key-locking\n',

    async send(commands, timeoutMs = commandTimeoutMs) {
      const limitMs = Math.min(timeoutMs, commandTimeoutMs)
      if (closed)
        throw new RedisConnectionError('Cannot use Upstash: the connection was closed by close(); make another one')
      if (commands.length === 0) return []
      const body = commands.map((command) => command.map(toText))
      const ended = new AbortController()
      const deadline = startDeadline(limitMs, () => {
        ended.abort()
        return new RedisConnectionError(`Cannot reach Upstash: no answer within ${limitMs} ms`)
      })
      const status = watchStatus()
      try {
        const ask = await deadline.of(request ?? connected()).catch(failedFactory)
        const asked = ask({ path: ['pipeline'], body, signal: ended.signal }).catch((error: unknown) => {
          throw toConnectionError(error, status.seen())
        })
        const answer: unknown = await deadline.of(asked)
        if (isAnswer(answer, commands.length)) return answer.map(toReply)
        throw new RedisConnectionError('Cannot use Upstash: the answer must be a list of one result a command')
      } catch (error) {
        // made anew: the next one may have another token
        if ((error as Error).message === REFUSED) request = undefined
        throw error
      } finally {
        deadline.cancel()
        status.end()
      }
    },

    async close() {
      closed = true
    },
  }
}
function resolveUpstashOptions(options: UpstashOptions): Required<UpstashOptions> {
  assertObject(ACTION, 'options', options, '{ url, token }')
  assertKnownKeys(ACTION, options, ['url', 'token', 'commandTimeoutMs'])
  const { url, token, commandTimeoutMs = defaults.commandTimeoutMs } = options
  if (typeof url !== 'string' || !/^https?:\/\/[^\s@?#]+$/.test(url)) {
    throw refusal('url must be the REST URL of the database, https://…')
  }
  if (typeof token !== 'function') checkToken(token)
  if (!Number.isInteger(commandTimeoutMs) || commandTimeoutMs < 1 || commandTimeoutMs > 900_000) {
    throw refusal(`commandTimeoutMs must be an integer from 1 to 900000, got ${String(commandTimeoutMs)}`)
  }
  return { url, token, commandTimeoutMs }
}

function checkToken(token: unknown): string {
  if (typeof token === 'string' && /^[\x21-\x7e]+$/.test(token)) return token
  throw refusal('token must be the REST token of the database, without spaces or line ends')
}

function refusal(rule: string): Error {
  return wrongUseError(ACTION, rule)
}

function clientsOf({ url, token }: UpstashOptions): () => Redis | Promise<Redis> {
  if (typeof token === 'string') return () => createClient(url, token)
  return async () => createClient(url, checkToken(await token()))
}

function createClient(url: string, token: string): Redis {
  return new Redis({
    url,
    token,
    // Decoding base64 spoils a string `OK` within an array and drops a leading U+FEFF.
    responseEncoding: false,
    automaticDeserialization: false,
    enableAutoPipelining: false,
    enableTelemetry: false,
    // For the sockets that died while the function was frozen.
    retry: { retries: 1, backoff: () => 50 },
  })
}

/**
 * The client's own request function: what it does with authorization, retries and read-your-writes, without what its
 * commands do to arguments and replies. Clients show it to middleware only, so one command is asked for and answered here.
 */
function requestOf(redis: Redis): Request {
  if (typeof redis?.use !== 'function') throw refusal('the function must give a Redis of @upstash/redis')
  const client: { options?: { responseEncoding?: unknown } } | undefined = Reflect.get(redis, 'client')
  if (client?.options?.responseEncoding === 'base64') {
    throw refusal('the client must be made with responseEncoding: false, got "base64", its default')
  }
  let request: Request | undefined
  redis.use(async (asked, next) => {
    if (request !== undefined) return next(asked)
    request = next
    return { result: null }
  })
  void redis.exec(['PING'])
  if (request === undefined) throw refusal('the client must be a Redis of @upstash/redis 1.39 or newer')
  return request
}

function toText(argument: CommandArgument): string {
  return Buffer.isBuffer(argument) ? argument.toString('utf8') : String(argument)
}

interface Result {
  readonly result?: RedisReply
  readonly error?: string
}

function isAnswer(answer: unknown, length: number): answer is Result[] {
  const isResult = (item: unknown) => typeof item === 'object' && item !== null && ('result' in item || 'error' in item)
  return Array.isArray(answer) && answer.length === length && answer.every(isResult)
}

function toReply({ result, error }: Result): RedisReply {
  return error === undefined ? (result ?? null) : toReplyError(error)
}

const REFUSED = 'Cannot use Upstash: the token was refused; set the REST token of this database'

/** A factory or a token that could not be had; ours are passed on. */
function failedFactory(error: unknown): never {
  if (error instanceof MillraceError || (error as Error)?.message?.startsWith(CANNOT)) throw error
  throw new RedisConnectionError(
    `Cannot use Upstash: the factory or the token failed: ${describeUserFunctionFailure(error)}`,
  )
}

function made(make: () => Redis | Promise<Redis>): Redis | Promise<Redis> {
  try {
    return make()
  } catch (error) {
    return failedFactory(error)
  }
}

/** The HTTP status of what is answered meanwhile: the client's errors about an answer that it cannot read do not have it. */
function watchStatus(): { seen(): number | undefined; end(): void } {
  let status: number | undefined
  const note = (message: unknown) => {
    const { request, response } = message as { request: { path?: string }; response: { statusCode?: number } }
    if (request.path?.endsWith('/pipeline')) status = response.statusCode
  }
  subscribe('undici:request:headers', note)
  return { seen: () => status, end: () => unsubscribe('undici:request:headers', note) }
}

/**
 * What to say of a request that failed as a whole. The client's errors carry the request or the answer, both with
 * payloads, and an invalid header's carries the token: none of them is passed on, not even as the cause.
 */
function toConnectionError(error: unknown, status: number | undefined): RedisConnectionError {
  const { message, cause } = error instanceof Error ? error : new Error()
  const [said, request] = message.split(', command was:')
  if (said !== undefined && request !== undefined) {
    if (/^(WRONGPASS|NOAUTH)\b|unauthori[sz]ed/i.test(said)) {
      return new RedisConnectionError(REFUSED)
    }
    const [text = ''] = said.slice(0, 200).split(/["'`[{]/)
    return new RedisConnectionError(`Cannot use Upstash: the request was refused: ${text.trim()}`)
  }
  if (cause instanceof Error && message === 'fetch failed') {
    const { code } = cause as NodeJS.ErrnoException
    return new RedisConnectionError(
      `Cannot reach Upstash: ${code ?? 'the connection failed'}; check the host in url, and that this network leads there`,
      { cause },
    )
  }
  const http = status === undefined || status === 200 ? '' : `HTTP ${status}: `
  return new RedisConnectionError(`Cannot use Upstash: ${http}the answer could not be read; is the URL its REST URL?`)
}
