import { quoted } from '../core/quoted.ts'
import { RedisReplyError } from '../errors.ts'
import { keysAt } from './clients/keys-of.ts'
import type { Argument, Command, Reply, Transport } from './clients/transport.ts'
import type { Script } from './scripts/script.ts'
import { evalsha, evalText } from './scripts/script.ts'

/** A command, or a script with its keys and arguments. */
export type Call = Command | ScriptCall

interface ScriptCall {
  readonly script: Script
  readonly keys: readonly string[]
  readonly args: readonly Argument[]
}

/** Sends calls over a transport, counts the round trips, and sends a script's text where the server does not know its digest. */
export class Sender {
  roundTrips = 0
  readonly #transport: Transport

  readonly #remainingMs: (() => number) | undefined

  /** @param remainingMs Milliseconds in which an answer is still of use. Default: no end. */
  constructor(transport: Transport, remainingMs?: () => number) {
    this.#transport = transport
    this.#remainingMs = remainingMs
  }

  /** One reply a call, error replies in their places. @throws {RedisConnectionError} No reply came. */
  async send(calls: readonly Call[]): Promise<Reply[]> {
    if (calls.length === 0) return []
    const replies = await this.#write(calls.map((call) => this.#command(call, evalsha)))
    const unknown = calls.flatMap((call, at) =>
      isScript(call) && isReplyError(replies[at], 'NOSCRIPT') ? [{ call, at }] : [],
    )
    if (unknown.length === 0) return named(calls, replies)
    const again = await this.#write(unknown.map(({ call }) => this.#command(call, evalText)))
    for (const [n, { at }] of unknown.entries()) replies[at] = again[n] as Reply
    return named(calls, replies)
  }

  /** The reply of one call. @throws {RedisReplyError} The server refused it. */
  async call(call: Call): Promise<Reply> {
    const [reply = null] = await this.send([call])
    if (reply instanceof RedisReplyError) throw reply
    return reply
  }

  #write(commands: readonly Command[]): Promise<Reply[]> {
    this.roundTrips++
    return this.#transport.send(commands, this.#remainingMs && Math.max(1, Math.floor(this.#remainingMs())))
  }

  #command(call: Call, form: typeof evalsha): Command {
    return isScript(call) ? form(call.script, this.#transport.scriptPrefix, call.keys, call.args) : call
  }
}

export function isReplyError(reply: Reply | undefined, replyCode: string): reply is RedisReplyError {
  return reply instanceof RedisReplyError && reply.is(replyCode)
}

/** Names the keys of calls that met another type: the server does not. */
function named(calls: readonly Call[], replies: Reply[]): Reply[] {
  for (const [at, call] of calls.entries()) {
    const reply = replies[at]
    if (!isReplyError(reply, 'WRONGTYPE')) continue
    const keys = isScript(call) ? call.keys : call.slice(...keysAt(call))
    const [what, found] = keys.length === 1 ? ['key', keys] : ['one of the keys', keys.slice(0, 5)]
    replies[at] = new RedisReplyError(
      `${reply.message}; ${what} ${found.map((key) => quoted(String(key))).join(', ')} is of another type`,
    )
  }
  return replies
}

function isScript(call: Call): call is ScriptCall {
  return 'script' in call
}
