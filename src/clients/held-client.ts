import { wrongUseError } from '../core/options.ts'
import { RedisConnectionError, RedisReplyError } from '../errors.ts'
import { toReplyError, toSelectError } from '../group/redis/reply-errors.ts'
import { adjustUserCluster, isClusterClient } from './cluster-client.ts'
import type { Deadline } from './deadline.ts'
import type { IoredisClient } from './ioredis-client.ts'
import type { ClientOptions } from './ioredis-options.ts'
import { checkClientOptions, isOptionsObject, SOCKET_TIMEOUT_MS } from './ioredis-options.ts'
import { describeSocketError, describeUserFunctionFailure } from './trouble.ts'

/** Makes a client; asked again for each that takes the place of one that was given up. */
export type ClientFactory = () => IoredisClient | Promise<IoredisClient>

/** A client and what is known of it. */
export interface HeldClient {
  readonly client: IoredisClient
  readonly options: ClientOptions
  state: 'new' | 'accepted' | 'gone'
  /** The server's words, once it refused the login or the database. */
  refusal: RedisReplyError | undefined
  /** Ends of the commands under way, to be rejected with a refusal. */
  readonly waiting: Deadline[]
  /** What the connection said last: the commands only learn that there were too many retries. */
  trouble: string | undefined
  /** It answers still, though another kind of client takes its place. */
  isSound: boolean
}

const ACTION = 'connect with ioredis'
const SHARED =
  "mode 'listen' waits on a connection of its own, and the factory gave the client that is used already; it must make a " +
  'new one each time, as in connectIoredis(() => new Redis(url))'
const SAME_AGAIN =
  'the factory gave a client again that got no answer or was refused; it must make a new one each time, as in ' +
  'connectIoredis(() => new Redis(url)), and not share one with the application'

/**
 * The one client of a connection. It is `new` until it is ready for commands, `accepted` from then on, and `gone` once it was given up: a
 * command got no answer, its login was refused, its server is a replica, or it has ended. The next command asks the factory for another: if
 * that gives the same, it is the application's own, which is left alone and refused from then on; else the old one is destroyed.
 */
export class ClientHolder {
  readonly #create: ClientFactory
  /** Nobody else has the clients: one is destroyed as soon as it is given up. */
  readonly #isOwn: boolean
  /** Whose client must be another one. */
  readonly #beside: ClientHolder | undefined
  readonly #gone = new WeakSet<IoredisClient>()
  /** Given up, and not destroyed before the factory has given another, or, of a cluster, while other nodes still answer. */
  readonly #left = new Map<IoredisClient, HeldClient | undefined>()
  #held: HeldClient | undefined
  #making: Promise<HeldClient> | undefined
  #isClosed = false
  /** An option was refused, which no other client of the factory will have otherwise. */
  #wrong: Error | undefined

  constructor(create: ClientFactory, isOwn: boolean, beside?: ClientHolder) {
    this.#create = create
    this.#isOwn = isOwn
    this.#beside = beside
  }

  /** What has another client of the same kind, for itself. It sends nothing again once its connection is gone. */
  another(): ClientHolder {
    return new ClientHolder(this.#create, true, this)
  }

  /** The client that is there, so that a command is written at once: a handler that never yields may follow. */
  held(): HeldClient | undefined {
    if (this.#held && isStale(this.#held)) this.giveUp(this.#held)
    return this.#held
  }

  /**
   * A client that takes commands.
   *
   * @throws {TypeError} An option of the factory's client is refused.
   * @throws {RedisConnectionError} The factory failed, or gave a client that was given up before.
   */
  async take(): Promise<HeldClient> {
    if (this.#wrong) throw this.#wrong
    const held = this.held()
    if (held) return held
    this.#isClosed = false
    this.#making ??= this.#make()
    return this.#making
  }

  /** Puts another kind of client in the place of one that works: what is asked of that meanwhile is answered. */
  replace(held: HeldClient): void {
    held.isSound = true
    this.giveUp(held)
  }

  /** Gives up a client; more than once is no harm. None: the factory that is asked has not answered, and is asked again. */
  giveUp(held: HeldClient | undefined): void {
    if (held === undefined) this.#making = undefined
    if (held === undefined || held.state === 'gone') return
    held.state = 'gone'
    this.#gone.add(held.client)
    if (this.#held === held) this.#held = undefined
    if (this.#isOwn && !isUseful(held)) destroy(held.client)
    else this.#left.set(held.client, held)
  }

  /** Of a client that was given up: nobody waits for a command of its other nodes any more. */
  leave(held: HeldClient): void {
    if (held.state === 'gone' && (this.#isOwn || this.#held)) this.#destroyLeft()
  }

  /** What is asked for afterwards opens another one: a function that closes at each end goes on when it is warm. */
  close(): void {
    this.#isClosed = true
    this.#making = undefined
    if (this.#held) destroy(this.#held.client)
    this.#held = undefined
    this.#destroyLeft(() => false)
  }

  #make(): Promise<HeldClient> {
    const making: Promise<HeldClient> = this.#adopt(() => this.#making === making).finally(() => {
      if (this.#making === making) this.#making = undefined
    })
    making.catch(() => {})
    return making
  }

  /** @param isAwaited Whether somebody still waits for it. */
  async #adopt(isAwaited: () => boolean): Promise<HeldClient> {
    const client = await this.#ask()
    if (client === this.#beside?.held()?.client) throw wrongUseError(ACTION, SHARED)
    if (this.#gone.has(client)) throw new RedisConnectionError(`Cannot use Redis: ${SAME_AGAIN}`)
    if (!isAwaited()) throw this.#leave(client)
    const { options = {} } = client
    try {
      if (!isOptionsObject(options)) throw wrongUseError(ACTION, 'the client of the factory must have options')
      settleOptions(client, options)
    } catch (error) {
      this.#wrong = error as Error
      await this.#drop(client)
      throw error
    }
    const held = hold(client, options)
    this.#held = held
    if (this.#beside) client.on('close', () => endWaits(held))
    this.#destroyLeft()
    return this.#held
  }

  /** Of a client that came when nobody waited for it any more. */
  #leave(client: IoredisClient): Error {
    if (this.#held?.client !== client) {
      client.on('error', () => {})
      this.#left.set(client, undefined)
    }
    if (this.#isClosed) this.#destroyLeft()
    return new RedisConnectionError('Cannot use Redis: the factory was too late')
  }

  #destroyLeft(isKept: (held: HeldClient) => boolean = isUseful): void {
    for (const [client, held] of this.#left) {
      if (held && isKept(held)) continue
      this.#left.delete(client)
      if (client !== this.#held?.client) destroy(client)
    }
  }

  async #ask(): Promise<IoredisClient> {
    let client: unknown
    try {
      client = await this.#create()
    } catch (error) {
      // without the error itself: one of a URL has the URL as a member
      throw new RedisConnectionError(`Cannot use Redis: the factory failed: ${describeUserFunctionFailure(error)}`)
    }
    const isClient =
      isOptionsObject(client) && ['pipeline', 'on', 'disconnect'].every((name) => typeof client[name] === 'function')
    if (isClient) return client as unknown as IoredisClient
    throw wrongUseError(ACTION, 'the factory must give a client of ioredis, Redis or Cluster')
  }

  /** Destroys a client of no use, unless it is the application's own. */
  async #drop(client: IoredisClient): Promise<void> {
    client.on('error', () => {})
    const other = await this.#ask().catch(() => undefined)
    if (other === client) return
    for (const each of [client, other]) {
      each?.on('error', () => {})
      if (each) destroy(each)
    }
  }
}

/** One node's trouble does not end what others are asked. */
function isUseful({ client, waiting, isSound }: HeldClient): boolean {
  return (isClusterClient(client) || isSound) && waiting.length > 0
}

function isStale({ client, refusal }: HeldClient): boolean {
  return client.status === 'end' || refusal !== undefined
}

/** Refuses what would let commands reach another database or user than the one named, by the option's name. */
function settleOptions(client: IoredisClient, options: ClientOptions): void {
  checkClientOptions(ACTION, options)
  const { redisOptions, db = 0, enableReadyCheck, password, protocol, sentinels } = options
  if (Array.isArray(sentinels)) settleSentinels(options)
  if (client.isCluster && isOptionsObject(redisOptions) && Number(redisOptions.db ?? 0) !== 0)
    throw wrongUseError(ACTION, 'option db must be left out of redisOptions: a cluster has only database 0')
  if (!/^\d+$/.test(`${db ?? 0}`)) throw wrongUseError(ACTION, 'option db must be an integer from 0')
  // version 6 waits for login and database, version 5 only for the answer of its ready check
  if (client.isCluster || protocol !== undefined || enableReadyCheck !== false) return
  if (Number(db) !== 0)
    throw wrongUseError(
      ACTION,
      'option enableReadyCheck must not be false with db: ioredis 5 would not wait for its database',
    )
  if (password && client.status !== 'ready') Object.assign(options, { enableReadyCheck: true })
}

let isWarned = false

/** A primary that hangs may have a successor, as a cluster's master may. */
function settleSentinels(options: ClientOptions): void {
  Object.assign(options, { socketTimeout: options.socketTimeout ?? SOCKET_TIMEOUT_MS })
  if (options.failoverDetector || isWarned) return
  isWarned = true
  process.emitWarning('without failoverDetector: true a client of sentinels loses what an old primary acknowledges')
}

/** `reconnectOnError` hangs up, or sends again what was refused until the command's time is up; of a cluster every node does. */
function neverHangUp(client: IoredisClient): void {
  for (const { options } of [client, ...(client.nodes?.() ?? [])])
    if (options && Reflect.get(options, 'reconnectOnError')) Object.assign(options, { reconnectOnError: null })
}

function hold(client: IoredisClient, options: ClientOptions): HeldClient {
  neverHangUp(client)
  client.on('+node', () => neverHangUp(client))
  if (isClusterClient(client)) adjustUserCluster(client)
  const held: HeldClient = {
    client,
    options,
    state: client.status === 'ready' ? 'accepted' : 'new',
    refusal: undefined,
    waiting: [],
    trouble: undefined,
    isSound: false,
  }
  client.on('ready', () => {
    if (held.state === 'new') held.state = 'accepted'
  })
  // without a listener ioredis prints
  client.on('error', (error) => {
    const refusal = refusalIn(error)
    if (refusal === undefined) held.trouble = describeSocketError(lastOf(error))
    else refuse(held, refusal)
  })
  // of a cluster: the others go on
  client.on('node error', (error) => {
    held.trouble = refusalIn(error)?.message ?? describeSocketError(error)
  })
  return held
}

function refuse(held: HeldClient, refusal: RedisReplyError): void {
  // before it is ready: nothing that waits is sent on this connection
  held.client.stream?.destroy()
  held.refusal = refusal
  for (const each of held.waiting) each.fail(refusal)
}

/** What was sent may have been carried out. */
function endWaits(held: HeldClient): void {
  const said = held.trouble ?? 'the connection was closed'
  for (const each of held.waiting) each.fail(new RedisConnectionError(`Cannot reach Redis: ${said}`))
}

interface ClientError extends Error {
  readonly command?: { readonly name?: string }
  readonly lastNodeError?: Error
}

/** The server's refusal of a login, a database or the ready check, if the error of a client is one. */
function refusalIn(error: ClientError): RedisReplyError | undefined {
  const last = lastOf(error)
  if (last instanceof RedisReplyError) return last
  const [, checked] = /^Ready check failed: (.*)$/s.exec(last.message) ?? []
  if (last.name !== 'ReplyError' && checked === undefined) return undefined
  const isSelect = error.command?.name?.toLowerCase() === 'select'
  return isSelect ? toSelectError(last.message, 'option db') : toReplyError(checked ?? last.message)
}

/** Of a cluster: what its last node said. */
function lastOf(error: ClientError): Error {
  return error.lastNodeError ?? error
}

/** Ends a client at once: disconnecting asks the peer to hang up, and one that hangs never does. */
function destroy(client: IoredisClient): void {
  client.disconnect()
  client.stream?.destroy()
}
