import { RedisConnectionError, RedisReplyError } from '../errors.ts'
import { withKeyPrefix } from '../group/redis/keys-of.ts'
import { classifyReplyError, toReplyError } from '../group/redis/reply-errors.ts'
import type {
  CommandArgument,
  RedisCommand,
  RedisReply,
  ReplyOrConnectionError,
  SignIn,
  Transport,
  WaitingTransport,
} from '../group/redis/transport.ts'
import { isClusterClient } from './cluster-client.ts'
import { clusterNodeClient, fetchMasters } from './cluster-nodes.ts'
import { ClusterPipeline } from './cluster-pipeline.ts'
import { type Deadline, startDeadline } from './deadline.ts'
import type { ClientHolder, HeldClient } from './held-client.ts'
import type { IoredisClient, IoredisPipeline } from './ioredis-client.ts'
import type { ClientOptions } from './ioredis-options.ts'
import { isOptionsObject } from './ioredis-options.ts'
import { answeredOf, letGo, PART, PartedPipeline, type Results, type Sending } from './parted-pipeline.ts'
import { waitForClient } from './ready.ts'
import { signInFromOptions } from './sign-in.ts'
import { describeSocketError } from './trouble.ts'
import type { UrlClients } from './url-clients.ts'

/** Milliseconds that a command waits at most: whoever listens hears within so long of what does not end a wait. */
const MOST_WAIT_MS = 1_000

/** Sends over the client that a holder has, whichever that is by now. */
export class IoredisTransport implements Transport {
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

  send(commands: readonly RedisCommand[], timeoutMs?: number): Promise<ReplyOrConnectionError[]> {
    return this.#send(commands, timeoutMs)
  }

  async masters(timeoutMs?: number): Promise<Transport[]> {
    const info = await this.#askAboutCluster(timeoutMs)
    if (!this.#isCluster && this.#clients?.becomeCluster && /cluster_enabled:1/.test(String(info))) {
      this.#clients.becomeCluster()
      const held = this.#holder.held()
      if (held) this.#holder.replace(held)
      await this.#askAboutCluster(timeoutMs)
    }
    const { client } = this.#holder.held() ?? {}
    if (client && !isClusterClient(client)) return [this]
    const { scriptPrefix } = this
    const masters = client ? await fetchMasters(client) : []
    // a single node would pass for all of them
    if (masters.length === 0)
      throw new RedisConnectionError('Cannot reach Redis: the nodes of the cluster are not known')
    return masters.map((key) => ({
      scriptPrefix,
      send: (commands, ms) => this.#send(commands, ms, key),
      close: async () => {},
    }))
  }

  /** Also connects; who may not ask is taken at the URL's word. @throws {RedisConnectionError} No answer came. */
  async #askAboutCluster(timeoutMs: number | undefined): Promise<ReplyOrConnectionError | undefined> {
    const [info] = await this.#send([['info', 'cluster']], timeoutMs)
    if (info instanceof RedisConnectionError) throw info
    return info
  }

  waiting(): WaitingTransport {
    return new WaitingIoredisTransport(this.#holder.another(), this.#keyPrefix, this.#clients)
  }

  signIn(): SignIn | undefined {
    return this.#clients?.signIn ?? signInFromOptions(this.#holder.held()?.options)
  }

  get #isCluster(): boolean {
    const { client } = this.#holder.held() ?? {}
    return client !== undefined && isClusterClient(client)
  }

  /** @param key Of a cluster: the one node to send to. */
  async #send(
    commands: readonly RedisCommand[],
    timeoutMs = Number.POSITIVE_INFINITY,
    key?: string,
  ): Promise<ReplyOrConnectionError[]> {
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
      if (!this.#clients?.becomeCluster || isClusterClient(held.client) || !answers.some(isRedirection)) return answers
      const moved = answers.flatMap((answer, at) => (isRedirection(answer) ? [at] : []))
      // none of these was carried out
      this.#clients.becomeCluster()
      this.#holder.replace(held)
      held = await deadline.of(this.#holder.take())
      const again = await this.#ask(held, moved.map((at) => commands[at] as RedisCommand), deadline) // biome-ignore format: one line
      for (const [n, at] of moved.entries()) answers[at] = again[n] as ReplyOrConnectionError
      return answers
    } catch (error) {
      this.#holder.giveUp(held)
      throw error
    } finally {
      deadline.cancel()
    }
  }

  /** One answer per command; the client is given up where one did not come. */
  async #ask(
    held: HeldClient,
    commands: readonly RedisCommand[],
    deadline: Deadline,
    key?: string,
  ): Promise<ReplyOrConnectionError[]> {
    let pipeline: Sending | undefined
    held.waiting.push(deadline)
    try {
      if (needsReady(held)) await deadline.of(waitForClient(held.client))
      pipeline = this.#pipeline(held, commands, key)
      const answers = readAnswers(held, commands, (await deadline.of(pipeline.exec())) ?? [])
      letGo(pipeline)
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

  #pipeline({ client, options }: HeldClient, given: readonly RedisCommand[], key?: string): Sending {
    const prefix = this.#keyPrefix || prefixOf(options)
    // prefixed here: what ioredis takes for a key differs from version to version
    const commands = prefix ? given.map((command) => withKeyPrefix(command, prefix)) : given
    if (!isClusterClient(client)) return put(client, commands, prefix)
    const node = key === undefined ? undefined : clusterNodeClient(client, key)
    if (node) return put(node, commands, prefix)
    return new ClusterPipeline(client, commands, (node, some) => put(node, some, prefix))
  }

  async close(): Promise<void> {
    this.#holder.close()
  }
}

/** The same for commands that wait: no other is sent beside them. */
class WaitingIoredisTransport extends IoredisTransport implements WaitingTransport {
  readonly #own: ClientHolder
  #known: HeldClient | undefined
  #maxWaitMs = 0

  constructor(holder: ClientHolder, keyPrefix: string, clients: UrlClients | undefined) {
    super(holder, Number.POSITIVE_INFINITY, keyPrefix, clients)
    this.#own = holder
  }

  get isConnected(): boolean {
    return this.#own.held()?.client.status === 'ready'
  }

  get maxWaitMs(): number {
    const held = this.#own.held()
    if (!held) return MOST_WAIT_MS
    if (held !== this.#known) this.#maxWaitMs = longestWait(held.options)
    this.#known = held
    return this.#maxWaitMs
  }
}

/** @param prefix Of the client, which has been put before the keys. */
function put(client: IoredisClient, commands: readonly RedisCommand[], prefix: string): Sending {
  const putSome = (some: readonly RedisCommand[]) => putPart(client, some, prefix)
  return commands.length > PART && isWritable(client)
    ? new PartedPipeline(commands, putSome, client)
    : putSome(commands)
}

/** Else a client keeps what it is given: when it is ready and loses its connection at once, it may send some of the parts again, and others not. */
function isWritable({ status, stream }: IoredisClient): boolean {
  return status === 'ready' && stream?.writable === true
}

function putPart(client: IoredisClient, commands: readonly RedisCommand[], prefix: string): IoredisPipeline {
  const pipeline = client.pipeline()
  if (prefix) Object.assign(pipeline, { options: { ...client.options, keyPrefix: '' } })
  // in capitals: transformers that other code sets for a command, process-wide, go by its name
  for (const command of commands) pipeline.callBuffer(command[0].toUpperCase(), command.slice(1) as CommandArgument[])
  return pipeline
}

function longestWait({ commandTimeout, socketTimeout, redisOptions }: ClientOptions): number {
  const node = isOptionsObject(redisOptions) ? redisOptions : {}
  const limits = [commandTimeout, socketTimeout, node.commandTimeout, node.socketTimeout].map(Number).filter(Boolean)
  return Math.floor(Math.min(...limits, 2 * MOST_WAIT_MS) / 2)
}

function isRedirection(answer: ReplyOrConnectionError): boolean {
  return answer instanceof RedisReplyError && /^(MOVED|ASK) /.test(answer.message)
}

/** One answer per command. @param missing Of a command that has no result. */
function readAnswers(
  held: HeldClient,
  commands: readonly RedisCommand[],
  results: Results,
  missing?: Error,
): ReplyOrConnectionError[] {
  // a server that hangs up after its refusal refused all
  const hangUp = results.some((result) => result?.[0]) ? hangUpIn(results) : undefined
  const read = hasNumbersAsText(held.options) ? withNumbers : (reply: RedisReply) => reply
  return commands.map((_command, at) => {
    const [error, reply] = results[at] ?? [missing ?? new Error('Connection is closed.')]
    if (!error) return read(detach(reply as RedisReply))
    return refusalOf(error) ?? hangUp ?? unanswered(held, error)
  })
}

function hangUpIn(results: Results): RedisReplyError | undefined {
  return results
    .map((result) => refusalOf(result?.[0]))
    .find((reply) => reply && classifyReplyError(reply.message).hangsUp)
}

function hasNumbersAsText({ stringNumbers, redisOptions }: ClientOptions): boolean {
  return stringNumbers === true || (isOptionsObject(redisOptions) && redisOptions.stringNumbers === true)
}

// an ioredis error carries its command, payloads included, so only its text goes on
function refusalOf(error: Error | null | undefined): RedisReplyError | undefined {
  if (error instanceof RedisReplyError) return error
  return error?.name === 'ReplyError' ? toReplyError(error.message) : undefined
}

function unanswered(held: HeldClient, error: unknown): RedisConnectionError {
  if (error instanceof RedisConnectionError) return error
  const { message } = error as Error
  const isVague = /max retries per request|connection is closed|is ended|startup nodes|slots cache/i.test(message)
  const said = isVague && held.trouble !== undefined ? held.trouble : describeSocketError(error)
  return new RedisConnectionError(`Cannot reach Redis: ${said}`)
}

function endsClient(answer: ReplyOrConnectionError): boolean {
  if (answer instanceof RedisConnectionError) return true
  return answer instanceof RedisReplyError && classifyReplyError(answer.message).endsClient
}

/** Where a client keeps no queue; a cluster's nodes are not known before. */
function needsReady({ client, options }: HeldClient): boolean {
  return client.status !== 'ready' && (options.enableOfflineQueue === false || isClusterClient(client))
}

function prefixOf({ keyPrefix }: ClientOptions): string {
  return typeof keyPrefix === 'string' || Buffer.isBuffer(keyPrefix) ? keyPrefix.toString() : ''
}

/**
 * Takes a reply's items out of the array that ioredis knows: what a pipeline answered was seen to live until the next full garbage
 * collection, at a fifth of a poller's processor time.
 */
function detach(reply: RedisReply): RedisReply {
  return Array.isArray(reply) ? reply.splice(0) : reply
}

/** Integers that a client gave as text; texts of the server are Buffers here. */
function withNumbers(reply: RedisReply): RedisReply {
  if (Array.isArray(reply)) return reply.map(withNumbers)
  return typeof reply === 'string' && /^-?\d+$/.test(reply) ? Number(reply) : reply
}
