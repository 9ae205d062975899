import type { ConnectionOptions } from 'node:tls'
import type { RedisOptions } from 'ioredis'
import { Redis } from 'ioredis'
import { cannot, object } from '../../core/options.ts'
import { RedisConnectionError, RedisReplyError } from '../../errors.ts'
import type { Connection } from '../group.ts'
import { createRedisConnection } from '../redis-connection.ts'
import { clustersOf, isCluster } from './cluster-client.ts'
import { mastersOf, nodeAt } from './cluster-nodes.ts'
import type { Result } from './cluster-pipeline.ts'
import { ClusterPipeline } from './cluster-pipeline.ts'
import type { ConnectTarget } from './connector.ts'
import { connectorTo } from './connector.ts'
import { type Deadline, startDeadline } from './deadline.ts'
import type { ClientFactory, Held } from './held-client.ts'
import { ClientHolder } from './held-client.ts'
import type { IoredisClient, IoredisPipeline } from './ioredis-client.ts'
import type { ClientOptions } from './ioredis-options.ts'
import { checkUrlOptions, isRecord } from './ioredis-options.ts'
import { judge, toReplyError } from './judge.ts'
import { withPrefix } from './keys-of.ts'
import type { Answer, Command, Reply, Transport } from './transport.ts'
import { DEFAULT_LIMIT_MS } from './transport.ts'
import { describeTrouble } from './trouble.ts'
import type { RedisAddress } from './url.ts'
import { parseRedisUrl } from './url.ts'

export type { IoredisClient, IoredisPipeline } from './ioredis-client.ts'

/** ioredis options over the ones chosen for Lambda. */
export interface IoredisOptions extends Omit<RedisOptions, 'password'> {
  /** In place of the URL's: a password, or what gives one, called once per attempt to connect, as for a secret that rotates. */
  readonly password?: string | (() => string | Promise<string>) | undefined
}

const ACTION = 'connect with ioredis'

/**
 * Settings that were tried against a stale socket, a server that hangs up, one that is down and one that accepts and never answers: the
 * first command after a freeze succeeds, and nothing waits for longer than `COMMAND_TIMEOUT_MS`. No `commandTimeout`: ioredis makes a timer for every command,
 * and takes it off the command with a `delete`, which `publishMany` feels.
 */
const LAMBDA_OPTIONS = {
  connectTimeout: 2_000,
  socketTimeout: 2_000,
  maxRetriesPerRequest: 1,
  retryStrategy: (attempt) => Math.min(50 * attempt, 500),
  autoResendUnfulfilledCommands: true,
  enableReadyCheck: false,
  disableClientInfo: true,
  enableAutoPipelining: false,
  keepAlive: 10_000,
  protocol: 2 as const,
} satisfies RedisOptions

/** Of a command, with a URL: milliseconds. */
const COMMAND_TIMEOUT_MS = 5_000

/**
 * Connects over TCP with ioredis, when the first command is sent. Make one at module scope and share it: it lasts as long as the execution
 * environment. A client that got no answer, whose login was refused, or whose server became a replica, is thrown away and made anew.
 *
 * @param target A URL (`redis://user:password@host:port/database`, `rediss://` for TLS, `unix://` or the path of a socket), or a function that
 * makes an ioredis client of your own: `Redis` or `Cluster`, version 5 or 6; it may be asynchronous. It is called again when its client was
 * thrown away, and must make a new one each time.
 * @param options ioredis options over the ones chosen for Lambda; only with a URL. `commandTimeout` is 5,000 ms.
 * @throws {TypeError} Not a URL of a Redis, or an option that is unknown or refused. No message shows any part of the URL.
 */
export function connectIoredis(target: string | ClientFactory, options?: IoredisOptions): Connection {
  if (typeof target === 'function') {
    if (options) throw cannot(ACTION, 'options go with a URL, not with a factory')
    return createRedisConnection(new IoredisTransport(new ClientHolder(target, false), DEFAULT_LIMIT_MS))
  }
  const address = parseRedisUrl(ACTION, target)
  const given = options ?? {}
  object(ACTION, 'options', given)
  checkUrlOptions(ACTION, given)
  const { commandTimeout = COMMAND_TIMEOUT_MS, keyPrefix = '' } = given
  const clients = clientsOf(address, given)
  const holder = new ClientHolder(() => clients.make(), true)
  return createRedisConnection(new IoredisTransport(holder, commandTimeout, keyPrefix, clients))
}

/** The clients of a URL. */
interface UrlClients {
  make(): IoredisClient
  /** To be told of a redirection: the server is a cluster. */
  becomeCluster(): void
}

/** Makes the clients of a URL. Where to, login and database are the connector's: ioredis has no password that it could show. */
function clientsOf(address: RedisAddress, options: IoredisOptions): UrlClients {
  const target = targetOf(address, options)
  const { retryStrategy = LAMBDA_OPTIONS.retryStrategy } = options
  const names = Object.keys(options).filter((name) => !OWN_OPTIONS.has(name))
  const passed = Object.fromEntries(names.map((name) => [name, options[name as keyof IoredisOptions]]))
  const settings = {
    ...LAMBDA_OPTIONS,
    ...withoutUndefined(passed),
    retryStrategy: retryStrategy && guarded(retryStrategy),
    lazyConnect: true,
    enableOfflineQueue: true,
    reconnectOnError: null,
    stringNumbers: false,
    replyMapping: 'legacy' as const,
  } as RedisOptions & { readonly replyMapping: 'legacy' }
  let { cluster } = address
  // of a cluster every node has a place of its own
  const clusters = clustersOf(address, { ...settings, Connector: connectorTo({ ...target, place: undefined }) })
  const ofServer = { ...target.place, ...settings, Connector: connectorTo(target) }
  return {
    make: () => (cluster ? (clusters() as IoredisClient) : new Redis(ofServer)),
    becomeCluster() {
      if (!cluster) process.emitWarning('the server of the URL is a cluster: add ?cluster to the URL')
      cluster = true
    },
  }
}

/** The strategies that renew a password have nothing to renew here; what one throws would end the process. */
function guarded(strategy: (attempt: number) => unknown): (attempt: number) => unknown {
  return (attempt) => {
    try {
      return strategy.call({}, attempt)
    } catch {
      return null
    }
  }
}

/** Options that are not handed on. */
const OWN_OPTIONS = new Set([
  'password',
  'username',
  'db',
  'tls',
  'family',
  'commandTimeout',
  'keyPrefix',
  'retryStrategy',
])

function targetOf(address: RedisAddress, options: IoredisOptions): ConnectTarget {
  const { hosts, path, cluster, iam } = address
  const {
    db = address.db,
    username = address.username,
    family,
    connectTimeout = LAMBDA_OPTIONS.connectTimeout,
  } = options
  if (iam !== undefined && !('password' in options))
    throw cannot(ACTION, '?iam needs the options iamAuth({ userId, cacheName }) of millrace/lambda')
  if (cluster && db > 0) throw cannot(ACTION, 'option db must be left out: a cluster has database 0 alone')
  const place =
    path === undefined
      ? { ...(hosts[0] as { host: string; port: number }), ...(family !== undefined && { family }) }
      : { path }
  return {
    place,
    family,
    tls: tlsOf(address, options),
    username: username || undefined,
    password: async () => {
      const given = options.password ?? address.password
      const password = typeof given === 'function' ? await given() : given
      const isText = typeof password === 'string' && password.isWellFormed()
      if (password !== undefined && !isText) throw cannot(ACTION, 'the password must be a string of whole characters')
      return password || undefined
    },
    db,
    connectTimeoutMs: connectTimeout,
  }
}

let isWarned = false

function tlsOf(address: RedisAddress, { tls }: IoredisOptions): ConnectionOptions | undefined {
  if (tls === undefined || tls === null) return address.tls ? {} : undefined
  if (!isRecord(tls) || 'profile' in tls)
    throw cannot(ACTION, 'option tls must be an object as { ca }, without profile')
  for (const name of ['host', 'port', 'path', 'socket'])
    if (name in tls) throw cannot(ACTION, `option tls.${name} is refused: the URL says where`)
  if (tls.rejectUnauthorized === false && !isWarned) {
    isWarned = true
    process.emitWarning('rejectUnauthorized: false shows the password to whoever answers')
  }
  return tls as ConnectionOptions
}

function withoutUndefined(options: ClientOptions): ClientOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

class IoredisTransport implements Transport {
  readonly scriptPrefix = ''
  readonly #holder: ClientHolder
  readonly #limitMs: number
  readonly #keyPrefix: string
  readonly #clients: UrlClients | undefined

  constructor(holder: ClientHolder, limitMs: number, keyPrefix = '', clients?: UrlClients) {
    this.#holder = holder
    this.#limitMs = limitMs
    this.#keyPrefix = keyPrefix
    this.#clients = clients
  }

  async send(commands: readonly Command[], timeoutMs?: number): Promise<Answer[]> {
    return this.#send(commands, timeoutMs)
  }

  async masters(timeoutMs?: number): Promise<Transport[]> {
    // also connects; who may not ask is taken at the URL's word
    const [info] = await this.#send([['info', 'cluster']], timeoutMs)
    if (!this.#isCluster && /cluster_enabled:1/.test(String(info))) {
      this.#clients?.becomeCluster()
      this.#holder.giveUp(this.#holder.held())
      await this.#send([['info', 'cluster']], timeoutMs)
    }
    const { client } = this.#holder.held() ?? {}
    if (!client || !isCluster(client)) return [this]
    const { scriptPrefix } = this
    return (await mastersOf(client)).map((key) => ({
      scriptPrefix,
      send: (commands, ms) => this.#send(commands, ms, key),
      close: async () => {},
    }))
  }

  get #isCluster(): boolean {
    const { client } = this.#holder.held() ?? {}
    return client !== undefined && isCluster(client)
  }

  /** @param key Of a cluster: the one node to send to. */
  async #send(commands: readonly Command[], timeoutMs = Number.POSITIVE_INFINITY, key?: string): Promise<Answer[]> {
    if (commands.length === 0) return []
    const limitMs = Math.min(timeoutMs, this.#limitMs)
    let held = this.#holder.held()
    const deadline = startDeadline(limitMs, () => {
      const said = held?.trouble === undefined ? '' : `; ${held.trouble}`
      return new RedisConnectionError(`Cannot reach Redis: no answer within ${limitMs} ms${said}`)
    })
    try {
      held ??= await deadline.of(this.#holder.take())
      const answers = await this.#ask(held, commands, deadline, key)
      const moved = this.#clients && !isCluster(held.client) ? placesOf(answers, isRedirection) : []
      if (moved.length === 0) return answers
      // none of these was carried out
      this.#clients?.becomeCluster()
      this.#holder.giveUp(held)
      held = await deadline.of(this.#holder.take())
      const again = await this.#ask(held, moved.map((at) => commands[at] as Command), deadline) // biome-ignore format: one line
      for (const [n, at] of moved.entries()) answers[at] = again[n] as Answer
      return answers
    } catch (error) {
      this.#holder.giveUp(held)
      throw error
    } finally {
      deadline.cancel()
    }
  }

  /** One answer a command; the client is given up where one did not come. */
  async #ask(held: Held, commands: readonly Command[], deadline: Deadline, key?: string): Promise<Answer[]> {
    let pipeline: Sending | undefined
    held.waiting.push(deadline)
    try {
      if (needsReady(held)) await deadline.of(ready(held.client))
      pipeline = this.#pipeline(held, commands, key)
      const answers = readAnswers(held, commands, (await deadline.of(pipeline.exec())) ?? [])
      if (answers.some(endsClient)) this.#holder.giveUp(held)
      return answers
    } catch (error) {
      this.#holder.giveUp(held)
      return readAnswers(held, commands, answeredOf(pipeline), held.refusal ?? unanswered(held, error))
    } finally {
      held.waiting.splice(held.waiting.indexOf(deadline), 1)
      this.#holder.leave(held)
    }
  }

  #pipeline({ client, options }: Held, given: readonly Command[], key?: string): Sending {
    const prefix = this.#keyPrefix || prefixOf(options)
    // prefixed here: what ioredis takes for a key differs from version to version
    const commands = prefix ? given.map((command) => withPrefix(command, prefix)) : given
    if (!isCluster(client)) return put(client, commands, prefix)
    const node = key === undefined ? undefined : nodeAt(client, key)
    if (node) return put(node, commands, prefix)
    return new ClusterPipeline(client, commands, (node, some) => put(node, some, prefix))
  }

  async close(): Promise<void> {
    this.#holder.close()
  }
}

/** @param prefix Of the client, which has been put before the keys. */
function put(client: IoredisClient, commands: readonly Command[], prefix: string): IoredisPipeline {
  const pipeline = client.pipeline()
  if (prefix) Object.assign(pipeline, { options: { ...client.options, keyPrefix: '' } })
  // in capitals: transformers that other code sets for a command, process-wide, go by its name
  for (const [name, ...args] of commands) pipeline.callBuffer(name.toUpperCase(), args)
  return pipeline
}

function placesOf(answers: readonly Answer[], is: (answer: Answer) => boolean): number[] {
  return answers.flatMap((answer, at) => (is(answer) ? [at] : []))
}

function isRedirection(answer: Answer): boolean {
  return answer instanceof RedisReplyError && /^(MOVED|ASK) /.test(answer.message)
}

type Results = readonly Result[]

/** Commands that were put together, for one server or several. */
interface Sending {
  exec(): Promise<Results | null>
}

/** What a pipeline has by now; it tells only when all of it came, and one reply may be lost among others. */
function answeredOf(pipeline: object | undefined): Results {
  const results: unknown = pipeline && Reflect.get(pipeline, '_result')
  return Array.isArray(results) ? results : []
}

/** One answer a command. @param missing Of a command that has no result. */
function readAnswers(held: Held, commands: readonly Command[], results: Results, missing?: Error): Answer[] {
  // a server that hangs up after its refusal refused all
  const hangUp = results.map((result) => refusalOf(result?.[0])).find((reply) => reply && judge(reply.message).hangsUp)
  const read = hasNumbersAsText(held.options) ? withNumbers : (reply: Reply) => reply
  return commands.map((_command, at) => {
    const [error, reply] = results[at] ?? [missing ?? new Error('Connection is closed.')]
    if (!error) return read(detach(reply as Reply))
    return refusalOf(error) ?? hangUp ?? unanswered(held, error)
  })
}

function hasNumbersAsText({ stringNumbers, redisOptions }: ClientOptions): boolean {
  return stringNumbers === true || (isRecord(redisOptions) && redisOptions.stringNumbers === true)
}

// an ioredis error carries its command, payloads included, so only its text goes on
function refusalOf(error: Error | null | undefined): RedisReplyError | undefined {
  if (error instanceof RedisReplyError) return error
  return error?.name === 'ReplyError' ? toReplyError(error.message) : undefined
}

function unanswered(held: Held, error: unknown): RedisConnectionError {
  if (error instanceof RedisConnectionError) return error
  const { message } = error as Error
  const isVague = /max retries per request|connection is closed|is ended|startup nodes|slots cache/i.test(message)
  const said = isVague && held.trouble !== undefined ? held.trouble : describeTrouble(error)
  return new RedisConnectionError(`Cannot reach Redis: ${said}`)
}

function endsClient(answer: Answer): boolean {
  if (answer instanceof RedisConnectionError) return true
  return answer instanceof RedisReplyError && judge(answer.message).endsClient
}

/** Where a client keeps no queue; a cluster's nodes are not known before. */
function needsReady({ client, options }: Held): boolean {
  return client.status !== 'ready' && (options.enableOfflineQueue === false || isCluster(client))
}

/** One wait for all who need a client: an emitter warns of many listeners. */
const waits = new WeakMap<IoredisClient, Promise<void>>()

function ready(client: IoredisClient): Promise<void> {
  const wait = waits.get(client) ?? untilReady(client).finally(() => waits.delete(client))
  waits.set(client, wait)
  return wait
}

/** Waits until a client would need no queue. @throws {Error} It ended instead. */
async function untilReady(client: IoredisClient): Promise<void> {
  if (client.status === undefined || client.status === 'ready') return
  if (client.status === 'wait') client.connect?.().catch(() => {})
  const { promise, resolve, reject } = Promise.withResolvers<unknown>()
  const ended = () => reject(new Error('Connection is closed.'))
  client.on('ready', resolve)
  client.on('end', ended)
  // a client that never tells is given up, with its listeners
  await promise.finally(() => {
    client.removeListener?.('ready', resolve)
    client.removeListener?.('end', ended)
  })
}

function prefixOf({ keyPrefix }: ClientOptions): string {
  return typeof keyPrefix === 'string' || Buffer.isBuffer(keyPrefix) ? keyPrefix.toString() : ''
}

/**
 * Takes a reply's items out of the array that ioredis knows: what a pipeline answered was seen to live until the next full garbage
 * collection, at a fifth of a poller's processor time.
 */
function detach(reply: Reply): Reply {
  return Array.isArray(reply) ? reply.splice(0) : reply
}

/** Integers that a client gave as text; texts of the server are Buffers here. */
function withNumbers(reply: Reply): Reply {
  if (Array.isArray(reply)) return reply.map(withNumbers)
  return typeof reply === 'string' && /^-?\d+$/.test(reply) ? Number(reply) : reply
}
