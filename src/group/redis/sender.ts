import { quotedValue, RedisConnectionError, RedisReplyError } from '../../errors.ts'
import { commandKeyRange } from './keys-of.ts'
import type { LuaScript } from './scripts/script.ts'
import { evalScriptText, evalsha } from './scripts/script.ts'
import type { CommandArgument, RedisCommand, RedisReply, ReplyOrConnectionError, Transport } from './transport.ts'

/** A command, or a script with its keys and arguments. */
export type RedisCall = RedisCommand | ScriptCall

export interface ScriptCall {
  readonly script: LuaScript
  readonly keys: readonly string[]
  readonly args: readonly CommandArgument[]
}

/** How often what no server knows is sent again, the first of each script with its text: a hash slot may move to another node between them. */
const MOST_TURNS = 2

/** Sends calls over a transport, counts the round trips, and sends a script's text where the server does not know its digest. */
export class CallSender {
  roundTrips = 0
  readonly #transport: Transport

  readonly #remainingMs: (() => number) | undefined

  /** @param remainingMs Milliseconds in which an answer is still of use. Default: no end. */
  constructor(transport: Transport, remainingMs?: () => number) {
    this.#transport = transport
    this.#remainingMs = remainingMs
  }

  /** One reply per call, error replies in their places. @throws {RedisConnectionError} No reply came, to one of them at least. */
  async send(calls: readonly RedisCall[]): Promise<RedisReply[]> {
    return (await this.ask(calls)).map((answer) => {
      if (isUnanswered(answer)) throw answer
      return answer
    })
  }

  /** One answer per call: its reply, an error reply, or what kept it from being answered. */
  async ask(calls: readonly RedisCall[]): Promise<ReplyOrConnectionError[]> {
    if (calls.length === 0) return []
    const replies = await this.#write(calls.map((call) => this.#command(call, evalsha)))
    if (!replies.some(isError)) return replies
    for (let turn = 0; turn < MOST_TURNS; turn++) {
      const unknown = calls.flatMap((call, at) =>
        isScript(call) && isReplyError(replies[at], 'NOSCRIPT') ? [{ call, at }] : [],
      )
      if (unknown.length === 0) break
      const again = await this.#write(
        unknown.map(({ call }, n) => this.#command(call, isFirstOf(unknown, n) ? evalScriptText : evalsha)),
      )
      for (const [n, { at }] of unknown.entries()) replies[at] = again[n] as ReplyOrConnectionError
    }
    return named(calls, replies)
  }

  /** What asks each node of a cluster that has keys; only itself elsewhere. @throws {RedisConnectionError} No reply came. */
  async masters(): Promise<CallSender[]> {
    const masters = await this.#transport.masters?.(this.#timeoutMs())
    return masters?.map((master) => new CallSender(master, this.#remainingMs)) ?? [this]
  }

  /** The reply of one call. @throws {RedisReplyError} The server refused it. */
  async call(call: RedisCall): Promise<RedisReply> {
    const [reply = null] = await this.send([call])
    if (reply instanceof RedisReplyError) throw reply
    return reply
  }

  /** A script as a command that carries its text: what goes in one write with it comes after it in any case. */
  withText(call: ScriptCall): RedisCommand {
    return this.#command(call, evalScriptText)
  }

  /** A script as a command that carries its digest: where the server does not know it, that is its answer. */
  withDigest(call: ScriptCall): RedisCommand {
    return this.#command(call, evalsha)
  }

  async #write(commands: readonly RedisCommand[]): Promise<ReplyOrConnectionError[]> {
    this.roundTrips++
    try {
      return await this.#transport.send(commands, this.#timeoutMs())
    } catch (error) {
      if (error instanceof RedisConnectionError) return commands.map(() => error)
      throw error
    }
  }

  #timeoutMs(): number | undefined {
    return this.#remainingMs && Math.max(1, Math.floor(this.#remainingMs()))
  }

  #command(call: RedisCall, form: typeof evalsha): RedisCommand {
    return isScript(call) ? form(call.script, this.#transport.scriptPrefix, call.keys, call.args) : call
  }
}

/** Whether no call before it has the same script and keys: the node that has these knows the text from then on. */
function isFirstOf(unknown: readonly { readonly call: ScriptCall }[], n: number): boolean {
  const { script, keys } = (unknown[n] as { readonly call: ScriptCall }).call
  return unknown.findIndex(({ call }) => call.script === script && `${call.keys}` === `${keys}`) === n
}

export function isError(reply: ReplyOrConnectionError): boolean {
  return reply instanceof Error
}

export function isUnanswered(answer: ReplyOrConnectionError | undefined): answer is RedisConnectionError {
  return answer instanceof RedisConnectionError
}

export function isReplyError(reply: ReplyOrConnectionError | undefined, replyCode: string): reply is RedisReplyError {
  return reply instanceof RedisReplyError && reply.is(replyCode)
}

/** Whether a service says that a request, or its answer, is larger than it takes. */
export function isRequestTooLarge(error: Error): boolean {
  return /max(imum)? (request|response|reply) size|(request|response|reply) (is )?too large/i.test(error.message)
}

/** Names the keys of calls that met another type: the server does not. */
export function named(calls: readonly RedisCall[], replies: ReplyOrConnectionError[]): ReplyOrConnectionError[] {
  for (const [at, call] of calls.entries()) {
    const reply = replies[at]
    if (!isReplyError(reply, 'WRONGTYPE')) continue
    const keys = isScript(call) ? call.keys : call.slice(...commandKeyRange(call))
    const [what, found] = keys.length === 1 ? ['key', keys] : ['one of the keys', keys.slice(0, 5)]
    replies[at] = new RedisReplyError(
      `${reply.message}; ${what} ${found.map((key) => quotedValue(String(key))).join(', ')} is of another type`,
    )
  }
  return replies
}

export function isScript(call: RedisCall): call is ScriptCall {
  return !Array.isArray(call)
}
