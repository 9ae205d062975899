import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import type { RedisOptions } from 'ioredis'
import { RedisReplyError } from '../errors.ts'
import { toReplyError, toSelectError } from '../group/redis/reply-errors.ts'
import {
  describeSocketError,
  describeUserFunctionFailure,
  HUNG_UP_MESSAGE,
  NOT_REDIS_MESSAGE,
  SPEAKS_TLS_MESSAGE,
} from './trouble.ts'

const NO_TLS_ANSWER = 'connect ETIMEDOUT: no TLS answer; without TLS, use redis://'
const NO_CONNECTION =
  'connect ETIMEDOUT: the server must be reachable from here: check VPC, subnets and security groups'
const SWITCHED = 'the sentinels named another primary'
const NO_LOGIN_ANSWER = 'no answer to the login; if the server speaks TLS, use rediss://'

/** The primary that sentinels named, and word of the next one. */
export interface SentinelPrimary {
  readonly place: { readonly host: string; readonly port: number }
  /** Called once, as soon as a sentinel names another; not any more after `close()`. */
  onSwitch(act: () => void): void
  close(): void
}

/** What a connection is made to, and what is settled on it before a client has it. */
export interface SocketTarget {
  readonly place:
    | { readonly host: string; readonly port: number; readonly family?: number | undefined }
    | { readonly path: string }
    /** Each client's own: of a cluster's node. */
    | undefined
  /** Of the address, 4 or 6, where there is no place. */
  readonly family?: number | undefined
  /** `undefined`: without TLS. */
  readonly tls: ConnectionOptions | undefined
  readonly username: string | undefined
  /** Asked once per attempt to connect. */
  readonly password: () => string | undefined | Promise<string | undefined>
  /** The password is a token of IAM. */
  readonly isByIam: boolean
  readonly db: number
  /** Asked once per attempt to connect, in place of `place`: sentinels know where the primary is. */
  readonly findPrimary?: (() => Promise<SentinelPrimary>) | undefined
  /** Milliseconds until a connection must stand, and again until its login is answered. */
  readonly connectTimeoutMs: number
  /** How often a connection is tried before it is an error. Default 2. */
  readonly attempts?: number | undefined
}

const AGAIN_AFTER_MS = 50
const ATTEMPTS = 2
/** Connections in a row that the peer closed without a byte: it will not do so otherwise the next time. */
const SILENT_HANG_UPS = 2

/** ioredis' own interface of what makes its sockets. */
export type SocketConnectorClass = NonNullable<RedisOptions['Connector']>

/** Makes one socket after the other to a target, the first time and after every loss. */
class TargetConnector {
  /** Of ioredis' interface. */
  firstError: Error | undefined
  readonly #target: SocketTarget
  #socket: Socket | undefined
  /** What the socket failed with after it stood: a TLS server refuses a client's certificate only then. */
  #failure: Error | undefined
  #isClosing = false
  #silent = 0
  readonly #place: NonNullable<SocketTarget['place']>

  /** @param place The client's own. */
  constructor(target: SocketTarget, { host = '', port = 0 }: ClientPlace) {
    this.#target = target
    this.#place = target.place ?? { host, port, ...(target.family !== undefined && { family: target.family }) }
  }

  check(): boolean {
    return true
  }

  disconnect(): void {
    this.#isClosing = true
    this.#socket?.destroy()
  }

  /** @throws {RedisReplyError} Login or database were refused. @throws {Error} There is no connection. */
  async connect(emit: (type: 'error', error: Error) => void): Promise<Socket> {
    this.#isClosing = false
    if (this.#silent >= SILENT_HANG_UPS) throw this.#hungUp()
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#open(emit)
      } catch (error) {
        this.#socket?.destroy()
        if (error instanceof RedisReplyError) throw error
        if (attempt === (this.#target.attempts ?? ATTEMPTS) || this.#isClosing)
          throw new Error(describeSocketError(error))
        await sleep(AGAIN_AFTER_MS)
      }
      if (this.#isClosing) throw new Error('the connection was closed')
    }
  }

  async #open(emit: (type: 'error', error: Error) => void): Promise<Socket> {
    const primary = await this.#target.findPrimary?.()
    try {
      return await this.#signIn(emit, primary)
    } catch (error) {
      primary?.close()
      throw error
    }
  }

  async #signIn(emit: (type: 'error', error: Error) => void, primary: SentinelPrimary | undefined): Promise<Socket> {
    const password = await askPassword(this.#target)
    if (this.#isClosing) throw new Error('the connection was closed')
    const socket = await this.#dial(primary?.place ?? this.#place)
    const requests = handshake(this.#target, password)
    if (requests.length > 0) await agree(socket, requests, this.#target, () => this.#hungUp())
    this.#watch(socket, emit)
    if (primary) this.#follow(socket, primary)
    return socket
  }

  /** A server of TLS resets what is none, as one that hangs up does. */
  #hungUp(): Error {
    const { code = '' } = (this.#failure ?? {}) as NodeJS.ErrnoException
    const isReset = !this.#target.tls && /^(ECONNRESET|EPIPE)$/.test(code)
    if (this.#failure && !isReset) return new Error(describeSocketError(this.#failure))
    return new Error(this.#target.tls ? HUNG_UP_MESSAGE : SPEAKS_TLS_MESSAGE)
  }

  async #dial(place: NonNullable<SocketTarget['place']>): Promise<Socket> {
    const { tls, connectTimeoutMs } = this.#target
    const socket = tls ? connectTls({ ...place, ...tls }) : connectTcp(place)
    this.#socket = socket
    let isConnected = false
    socket.once('connect', () => {
      isConnected = true
    })
    const timeout = new AbortController()
    const timer = setTimeout(() => timeout.abort(), connectTimeoutMs)
    // else an error after the wait would end the process
    this.#failure = undefined
    socket.on('error', (error) => {
      this.#failure = error
    })
    try {
      await onceOrClosed(socket, tls ? 'secureConnect' : 'connect', timeout.signal)
    } catch (error) {
      if (!timeout.signal.aborted) throw error
      throw new Error(isConnected ? NO_TLS_ANSWER : NO_CONNECTION)
    } finally {
      clearTimeout(timer)
    }
    return socket
  }

  /** Leaves a primary that is none any more. */
  #follow(socket: Socket, primary: SentinelPrimary): void {
    socket.once('close', () => primary.close())
    primary.onSwitch(() => {
      // answers that have come are read before
      setImmediate(() => socket.destroy(new Error(SWITCHED)))
    })
  }

  /** Notes a peer that never says a word of Redis. */
  #watch(socket: Socket, emit: (type: 'error', error: Error) => void): void {
    const heard = (chunk: Buffer) => {
      this.#silent = chunk[0] === TLS_ALERT ? SILENT_HANG_UPS : 0
    }
    socket.once('data', heard)
    socket.once('close', () => {
      const isLeft = this.#failure?.message === SWITCHED
      if (socket.bytesRead === 0 && socket.bytesWritten > 0 && !isLeft) this.#silent++
      if (this.#silent > 0) emit('error', this.#hungUp())
    })
    // no byte is read before the client listens
    socket.pause()
  }
}

type ClientPlace = { readonly host?: string; readonly port?: number }

/**
 * Makes the sockets of an ioredis client, version 5 or 6. A socket is handed over once login and database were accepted on it, the first time
 * and after every loss: no command is ever answered before, and the client never has the password.
 */
export function createSocketConnectorClass(target: SocketTarget): SocketConnectorClass {
  class Connector extends TargetConnector {
    constructor(options: ClientPlace) {
      super(target, options)
    }
  }
  // its abstract class has members of its own use, which nobody else reads
  return Connector as unknown as SocketConnectorClass
}

/** The first byte of what a TLS server says to a client without TLS. */
const TLS_ALERT = 0x15

function handshake({ username, db }: SocketTarget, password: string | undefined): string[][] {
  const login = password === undefined ? [] : [['auth', ...(username === undefined ? [] : [username]), password]]
  return db > 0 ? [...login, ['select', `${db}`]] : login
}

async function askPassword({ password }: SocketTarget): Promise<string | undefined> {
  try {
    return await password()
  } catch (error) {
    throw new Error(`the password could not be had: ${describeUserFunctionFailure(error)}`)
  }
}

/** Sends requests and waits until every one is answered by OK. @throws {RedisReplyError} One was refused. */
async function agree(
  socket: Socket,
  requests: readonly string[][],
  { connectTimeoutMs, isByIam }: SocketTarget,
  hungUp: () => Error,
): Promise<void> {
  const written = requests.map((words) => encode(words)).join('')
  let text = ''
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const onData = (chunk: Buffer) => {
    if (text === '' && chunk[0] === TLS_ALERT) return reject(new Error(SPEAKS_TLS_MESSAGE))
    text += chunk.toString('latin1')
    const lines = text.split('\r\n').slice(0, -1)
    const at = lines.findIndex((line) => line !== '+OK')
    if (at >= 0 && !lines[at]?.startsWith('-')) return reject(new Error(NOT_REDIS_MESSAGE))
    const said = Buffer.from(lines[at]?.slice(1) ?? '', 'latin1').toString()
    if (at >= 0) return reject(refusalOf(requests[at]?.[0], said, isByIam))
    if (lines.length >= requests.length) resolve()
  }
  const onClose = () => reject(hungUp())
  const timer = setTimeout(() => reject(new Error(NO_LOGIN_ANSWER)), connectTimeoutMs)
  socket.on('data', onData).on('close', onClose)
  socket.write(written)
  try {
    await promise
  } finally {
    clearTimeout(timer)
    socket.pause()
    socket.off('data', onData).off('close', onClose)
  }
}

/** What signing in by IAM needs; a server that is too old, or a user who is none of IAM, takes the token for a wrong password. */
const IAM_NEEDS =
  'by IAM a user of type iam logs in, by a role that may elasticache:Connect to cache and user, over TLS, to Valkey 7.2 or Redis 7.0'

function refusalOf(command: string | undefined, text: string, isByIam: boolean): RedisReplyError {
  if (command === 'select') return toSelectError(text, 'the database in the URL')
  return isByIam && text.startsWith('WRONGPASS')
    ? new RedisReplyError(`${text.replace(/[.\s]+$/, '')}; ${IAM_NEEDS}`)
    : toReplyError(text)
}

function encode(words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`
}

async function onceOrClosed(socket: Socket, event: string, signal: AbortSignal): Promise<void> {
  const waiting = new AbortController()
  const closed = once(socket, 'close', { signal: waiting.signal }).then(() => {
    throw Object.assign(new Error('the server hung up before the connection stood'), { code: 'ECONNRESET' })
  })
  closed.catch(() => {})
  try {
    await Promise.race([once(socket, event, { signal }), closed])
  } finally {
    waiting.abort()
  }
}
