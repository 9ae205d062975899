import { COUNTS, RUNNING } from '../../core/due-score.ts'
import { RedisConnectionError, RedisReplyError } from '../../errors.ts'
import type { EntryWaiter, Group, Slot, WaitRequest, WaitResult } from '../group.ts'
import { seenDelays } from '../seen-delays.ts'
import { seenPauses } from '../seen-pauses.ts'
import { Tally } from '../tally.ts'
import { mgetCommand } from './commands/mget.ts'
import { replyAsText, replyItems, toPlainReply } from './commands/reply.ts'
import { expireAfter, setIfAbsent } from './commands/set.ts'
import { parseTime, timeCommand } from './commands/time.ts'
import { parseXreadgroup, xreadgroup } from './commands/xreadgroup.ts'
import type { RedisGroup } from './redis-group.ts'
import type { RedisGroupCalls } from './redis-group-calls.ts'
import { CallSender, isError, isReplyError, isUnanswered, named } from './sender.ts'
import type { RedisCommand, RedisReply, ReplyOrConnectionError, WaitingTransport } from './transport.ts'
import { DEFAULT_REPLY_TIMEOUT_MS } from './transport.ts'
import type { WaitingTransports } from './waiting-transports.ts'

/** Milliseconds that an answer may be late after its wait; then nothing is known of what was read, and the connection is given up. */
export const ANSWER_MS = 800

/** What reads a group's new entries when they come. A group on Redis does not have it: a poller that listens brings it along. */
export function openEntryWaiter(group: Group): EntryWaiter {
  return group.openWaiter?.() ?? new RedisEntryWaiter(group as RedisGroup)
}

/** Reads a group's new entries when they come. */
class RedisEntryWaiter implements EntryWaiter {
  readonly #calls: RedisGroupCalls
  readonly #connections: WaitingTransports
  readonly #sender: CallSender
  /** `undefined` where no request can wait. */
  readonly #transport: WaitingTransport | undefined
  #waitMs = 0
  #limitMs = 0

  constructor({ calls, waiting }: RedisGroup) {
    this.#calls = calls
    this.#connections = waiting
    this.#transport = waiting.take()
    this.#sender = this.#transport ? new CallSender(this.#transport, () => this.#limitMs) : calls.sender
  }

  get maxWaitMs(): number {
    return this.#transport?.maxWaitMs ?? 0
  }

  async end(): Promise<void> {
    if (this.#transport) await this.#connections.leave(this.#transport)
  }

  async read(slot: Slot, { count, waitMs, asksDue, holdFlagMs, riders = [] }: WaitRequest): Promise<WaitResult> {
    // the first command of a client connects, which may take longer than a wait
    const isConnected = this.#transport?.isConnected !== false
    this.#waitMs = isConnected ? Math.ceil(Math.min(waitMs, this.maxWaitMs)) : 0
    this.#limitMs = isConnected ? this.#waitMs + ANSWER_MS : DEFAULT_REPLY_TIMEOUT_MS
    const { keys } = this.#calls.address
    const hold = holdFlagMs === undefined ? [] : [setIfAbsent(keys.wake, 'held'), expireAfter(keys.wake, holdFlagMs)]
    const before = [...riders, ...hold]
    const calls =
      before.length > 0 ? [...before, ...this.#read(slot, count, asksDue)] : this.#read(slot, count, asksDue)
    const answers = riders.length > 0 ? await this.#sender.ask(calls) : await this.#ask(calls)
    if (this.#transport) this.#calls.sender.roundTrips++
    const replies = before.length > 0 ? answers.slice(before.length) : answers
    const result = replies.some(isError) ? await this.#refused(slot, replies) : this.#result(slot, replies)
    return riders.length > 0 ? { ...result, answers: answers.slice(0, riders.length).map(toPlainReply) } : result
  }

  /** As a sender does with commands, in fewer steps: handlers start after it. */
  async #ask(commands: readonly RedisCommand[]): Promise<ReplyOrConnectionError[]> {
    if (!this.#transport) return this.#sender.ask(commands)
    try {
      const answers = await this.#transport.send(commands, Math.max(1, Math.floor(this.#limitMs)))
      return answers.some(isError) ? named(commands, answers) : answers
    } catch (error) {
      if (error instanceof RedisConnectionError) return commands.map(() => error)
      throw error
    }
  }

  #read(slot: Slot, count: number, asksDue: boolean): RedisCommand[] {
    const { stream, group, keys } = this.#calls.address
    return [
      xreadgroup(stream, group, slot.consumerName, count, this.#waitMs),
      mgetCommand(...this.#calls.besideRead(slot)),
      ...(asksDue ? [firstDue(keys.due), timeCommand] : []),
    ]
  }

  /** What came where a command was refused, or not answered; what may be absent is then. */
  async #refused(slot: Slot, replies: readonly ReplyOrConnectionError[]): Promise<WaitResult> {
    const [read, texts, due, time] = replies
    const beside = await this.#calls.texts(this.#calls.besideRead(slot), texts)
    const cut = [read, due, time, ...beside].find(isUnanswered)
    if (cut) return { ...NOTHING_READ, unanswered: { error: cut, settlements: [] } }
    if (isReplyError(read, 'NOGROUP')) return { ...NOTHING_READ, isGroupMissing: true }
    this.#calls.seen(read)
    const [holder, ...optional] = beside
    const known = [...optional, due].map((reply) => (isReplyError(reply, 'WRONGTYPE') ? null : reply))
    const refusal = [read, holder, time, ...known].find((reply) => reply instanceof RedisReplyError)
    if (refusal) return { ...NOTHING_READ, failures: [refusal] }
    return this.#result(slot, [read, [holder, ...known.slice(0, -1)], known.at(-1), time] as RedisReply[])
  }

  /** What came where all was answered: handlers start after it, so that it takes few steps. */
  #result(slot: Slot, replies: readonly ReplyOrConnectionError[]): WaitResult {
    const [read = null, texts, due, time] = replies as readonly RedisReply[]
    const [holder = null, paused = null, delayed = null] = replyItems(texts)
    this.#calls.seen(read)
    // what was read under a name that went to another is not ours to run: its new holder releases it
    if (slot.token !== '' && holder !== null && replyAsText(holder) !== slot.token)
      return { ...NOTHING_READ, leaseLost: true }
    const entries = read === null ? [] : parseXreadgroup(read)
    const result = { ...NOTHING_READ, entries }
    if (paused === null && delayed === null && time === undefined) return result
    const now = time === undefined ? undefined : parseTime(time)
    const seen = { ...seenPauses(replyAsText(paused), now), ...seenDelays(replyAsText(delayed), now) }
    return { ...result, ...seen, ...nextDue(due, now) }
  }
}

export const NOTHING_READ: WaitResult = /* @__PURE__ */ Object.freeze({
  ...new Tally().result(),
  entries: [],
  pendingLimitReached: false,
  parkedLimitReached: false,
  hasEnded: false,
  groupRecreated: false,
  isGroupMissing: false,
})

/** The first of the index that does not run. */
export function firstDue(due: string): RedisCommand {
  return ['zrangebyscore', due, '-inf', `(${RUNNING}`, 'WITHSCORES', 'LIMIT', 0, 1]
}

export function nextDue(reply: RedisReply | undefined, now: number | undefined): { readonly dueInMs?: number } {
  const [, score] = reply === undefined || reply === null ? [] : firstWithScore(reply)
  return score === undefined || now === undefined
    ? {}
    : { dueInMs: Math.max(0, Math.floor(Number(replyAsText(score)) / COUNTS) - now) }
}

/** RESP2 answers member and score, RESP3 pairs of them. */
function firstWithScore(reply: RedisReply): readonly RedisReply[] {
  const items = replyItems(reply)
  const [first] = items
  return Array.isArray(first) ? (first as readonly RedisReply[]) : items
}
