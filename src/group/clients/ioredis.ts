import type { RedisOptions } from 'ioredis'
import { Redis } from 'ioredis'
import { cannot } from '../../core/options.ts'
import { RedisConnectionError, RedisReplyError } from '../../errors.ts'
import type { Connection } from '../group.ts'
import { createRedisConnection } from '../redis-connection.ts'
import type { Answer, Command, Reply, Transport } from './transport.ts'

/** What is used of an ioredis client, version 5 or 6, `Redis` or `Cluster`. */
export interface IoredisClient {
  pipeline(): IoredisPipeline
  disconnect(): void
  /** The socket, once there is one; a `Cluster` has several and shows none. */
  readonly stream?: { destroy(): unknown } | undefined
  on(event: 'error', listener: (error: Error) => void): unknown
}

/** What is used of an ioredis pipeline. */
export interface IoredisPipeline {
  callBuffer(command: string, args: (string | Buffer | number)[]): unknown
  exec(): Promise<[error: Error | null, result: unknown][] | null>
}

const ACTION = 'connect with ioredis'

/** Milliseconds after which a client of ours has no answer any more. */
const ANSWER_MS = 5_000

/**
 * Settings that were tried against a stale socket, a server that hangs up, one that is down and one that accepts and never answers: the
 * first command after a freeze succeeds, and nothing waits for longer than `ANSWER_MS`. No `commandTimeout`: ioredis makes a timer for every command,
 * and takes it off the command with a `delete`, which `publishMany` feels.
 */
const LAMBDA_OPTIONS = {
  lazyConnect: true,
  connectTimeout: 2_000,
  socketTimeout: 2_000,
  maxRetriesPerRequest: 1,
  retryStrategy: (attempt) => Math.min(50 * attempt, 500),
  enableOfflineQueue: true,
  autoResendUnfulfilledCommands: true,
  enableReadyCheck: false,
  disableClientInfo: true,
  enableAutoPipelining: false,
  keepAlive: 10_000,
  protocol: 2 as const,
} satisfies RedisOptions

/**
 * Connects over TCP with ioredis, when the first command is sent. Make one at module scope and share it: it lasts as long as the execution
 * environment, and a client whose command timed out, or whose server became a replica, is thrown away and made anew.
 *
 * @param target A URL (`redis://`, `rediss://` for TLS, or a socket's path), or a function that makes an ioredis client of your own: `Redis`
 * or `Cluster`, version 5 or 6. Give it time limits; it is called again when its client was thrown away.
 * @param options ioredis options over the ones chosen for Lambda; only with a URL.
 * @throws {TypeError} Neither a URL nor a function. The message does not show it, since it may hold a password.
 */
export function connectIoredis(target: string | (() => IoredisClient), options?: RedisOptions): Connection {
  if (typeof target === 'function') {
    if (options) throw cannot(ACTION, 'options go with a URL; a factory sets its own')
    return createRedisConnection(new IoredisTransport(target))
  }
  if (typeof target !== 'string' || !/^(rediss?:\/\/|unix:\/\/|\/)/.test(target)) {
    const got = target === '' ? 'an empty string' : typeof target === 'string' ? 'another string' : typeof target
    throw cannot(
      ACTION,
      `the target must be a redis:// or rediss:// URL, a socket path, or a function that makes a client, got ${got}`,
    )
  }
  return createRedisConnection(
    new IoredisTransport(
      () => new Redis(target, { ...LAMBDA_OPTIONS, ...options, replyMapping: 'legacy' }),
      options?.commandTimeout === undefined ? ANSWER_MS : undefined,
    ),
  )
}

class IoredisTransport implements Transport {
  readonly scriptPrefix = ''
  readonly #create: () => IoredisClient
  #client: IoredisClient | undefined
  /** What the socket said last: the commands are only told that there were too many retries. */
  #trouble: string | undefined

  readonly #answerMs: number | undefined

  /** @param answerMs Milliseconds to wait for an answer at most. Default: the client's own limit alone. */
  constructor(create: () => IoredisClient, answerMs?: number) {
    this.#create = create
    this.#answerMs = answerMs
  }

  async send(commands: readonly Command[], timeoutMs?: number): Promise<Answer[]> {
    this.#client ??= this.#open()
    const client = this.#client
    const pipeline = client.pipeline()
    for (const [name, ...args] of commands) pipeline.callBuffer(name, args)
    const answer = pipeline.exec()
    const limits = [timeoutMs, this.#answerMs].filter((ms) => ms !== undefined)
    const deadline = this.#deadline(client, limits.length > 0 ? Math.min(...limits) : undefined)
    try {
      const results = (await Promise.race([answer, deadline.passed])) ?? []
      // without a password a server refuses short commands and hangs up on long ones: its refusal says more
      const [refusal] = results.find(([error]) => isReply(error) && error.message.startsWith('NOAUTH')) ?? []
      return results.map(([error, reply]) => {
        if (error) return this.#reply(client, isReply(error) ? error : (refusal ?? error))
        return detach(reply as Reply)
      })
    } catch (error) {
      answer.catch(() => {})
      throw error instanceof RedisConnectionError ? error : this.#unanswered(client, error as Error)
    } finally {
      deadline.cancel()
    }
  }

  /** Rejects after that long, and throws the client away: what it had sent is of no use any more. */
  #deadline(client: IoredisClient, timeoutMs: number | undefined): { passed: Promise<never>; cancel: () => void } {
    const { promise: passed, reject } = Promise.withResolvers<never>()
    if (timeoutMs === undefined) return { passed, cancel: () => {} }
    const timer = setTimeout(() => {
      reject(new RedisConnectionError(`Cannot reach Redis: no answer within ${timeoutMs} ms`))
      this.#discard(client)
    }, timeoutMs)
    return { passed, cancel: () => clearTimeout(timer) }
  }

  async close(): Promise<void> {
    this.#client?.disconnect()
    this.#client = undefined
  }

  #open(): IoredisClient {
    const client = this.#create()
    // without a listener ioredis prints
    client.on('error', (error) => {
      this.#trouble = error.message
    })
    return client
  }

  #discard(client: IoredisClient): void {
    client.disconnect()
    // disconnecting asks the peer to hang up; one that hangs never does
    client.stream?.destroy()
    if (this.#client === client) this.#client = undefined
  }

  // an ioredis error carries its command, payloads included, so only its text goes on
  #reply(client: IoredisClient, error: Error): RedisReplyError | RedisConnectionError {
    if (isReply(error)) {
      const reply = new RedisReplyError(error.message)
      // after a failover the same name may lead to the new primary
      if (reply.is('READONLY')) this.#discard(client)
      return reply
    }
    return this.#unanswered(client, error)
  }

  // a timed-out command stays queued and would run on the next connection, for nobody
  #unanswered(client: IoredisClient, error: Error): RedisConnectionError {
    if (error.message === 'Command timed out') this.#discard(client)
    const trouble = /max retries per request|Connection is closed/i.test(error.message) ? this.#trouble : undefined
    this.#trouble = undefined
    return new RedisConnectionError(`Cannot reach Redis: ${trouble ?? error.message}`)
  }
}

function isReply(error: Error | null): error is Error {
  return error?.name === 'ReplyError'
}

/**
 * Takes a reply's items out of the array that ioredis knows: what a pipeline answered was seen to live until the next full garbage
 * collection, at a fifth of a poller's processor time.
 */
function detach(reply: Reply): Reply {
  return Array.isArray(reply) ? reply.splice(0) : reply
}
