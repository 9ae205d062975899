import type { RedisConnectionError, RedisReplyError } from '../../errors.ts'

export type CommandArgument = string | Buffer | number

/** One Redis command, its name in lower case (ioredis keys its reply transformers by it). */
export type RedisCommand = readonly [name: string, ...args: CommandArgument[]]

/** What a server answers. Bulk strings are Buffers where the transport can carry bytes, else strings. */
export type RedisReply =
  | null
  | number
  | string
  | Buffer
  | RedisReplyError
  | readonly RedisReply[]
  | Map<RedisReply, RedisReply>
  | { readonly [name: string]: RedisReply }

/** Milliseconds after which a command without an answer has failed, where nothing else says so. */
export const DEFAULT_REPLY_TIMEOUT_MS = 10_000

/** What came for a command: its reply, or word that none came though others of the same write were answered. */
export type ReplyOrConnectionError = RedisReply | RedisConnectionError

/** How a connection logs in. */
export interface SignIn {
  /** With tokens of `iamAuth`. */
  readonly byIam: boolean
  readonly tls: boolean
}

/** What sends commands that wait for something to come. */
export interface WaitingTransport extends Transport {
  /** Milliseconds that a command may wait, so that the client does not take it for one that is not answered. */
  readonly maxWaitMs: number
  /** There is a connection: a command that waits is not kept from it. */
  readonly isConnected: boolean
}

/** What a client adapter is: it sends commands, and knows nothing of streams. */
export interface Transport {
  /**
   * Sends commands together, in order and without waiting between them, and gives one answer each; an error reply is returned in its place.
   *
   * @param timeoutMs Milliseconds after which it gives up, and throws its client away if need be. The client's own limit, or DEFAULT_REPLY_TIMEOUT_MS, holds as well.
   * @throws {RedisConnectionError} No reply came, to any of them.
   */
  send(commands: readonly RedisCommand[], timeoutMs?: number): Promise<ReplyOrConnectionError[]>
  /** What sends to one node each of a cluster, for what a server is asked as a whole. Default: there is but one. */
  masters?(timeoutMs?: number): Promise<readonly Transport[]>
  /** A connection of its own to the same server, for commands that wait. Left out where none can, as over REST. */
  waiting?(): WaitingTransport
  /** How its connections log in, as far as is known by now. */
  signIn?(): SignIn | undefined
  /** Text put before every Lua script. */
  readonly scriptPrefix: string
  close(): Promise<void>
}
