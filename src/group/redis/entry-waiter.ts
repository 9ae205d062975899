import { COUNTS, RUNNING } from '../../core/due-score.ts'
import { PARKED_CONSUMER } from '../../core/keys.ts'
import { RedisConnectionError, RedisReplyError } from '../../errors.ts'
import type { Delivery, EntryWaiter, Group, Slot, WaitRequest, WaitResult } from '../group.ts'
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
import type { RedisCall } from './sender.ts'
import { CallSender, isReplyError } from './sender.ts'
import type { RedisCommand, RedisReply, ReplyOrConnectionError, WaitingTransport } from './transport.ts'
import { DEFAULT_REPLY_TIMEOUT_MS } from './transport.ts'
import type { WaitingTransports } from './waiting-transports.ts'

/** Milliseconds that an answer may be late after its wait; then nothing is known of what was read, and the connection is given up. */
const ANSWER_MS = 800

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
    const answers = await this.#sender.ask([...before, ...this.#read(slot, count, asksDue)])
    if (this.#transport) this.#calls.sender.roundTrips++
    const rode = riders.length > 0 && { answers: answers.slice(0, riders.length).map(toPlainReply) }
    const [read = null, texts, ...due] = answers.slice(before.length)
    const asked = this.#calls.texts(this.#calls.besideRead(slot), texts)
    const beside = asked instanceof Promise ? await asked : asked
    return { ...this.#result(slot, [read, ...due], beside), ...rode }
  }

  #read(slot: Slot, count: number, asksDue: boolean): RedisCall[] {
    const { stream, group, keys } = this.#calls.address
    return [
      xreadgroup(stream, group, slot.consumerName, count, this.#waitMs),
      mgetCommand(...this.#calls.besideRead(slot)),
      ...(asksDue ? [firstDue(keys.due), timeCommand] : []),
    ]
  }

  #result(
    slot: Slot,
    replies: readonly ReplyOrConnectionError[],
    beside: readonly ReplyOrConnectionError[],
  ): WaitResult {
    const nothing = NOTHING_READ
    const cut = [...replies, ...beside].find((reply) => reply instanceof RedisConnectionError)
    if (cut) return { ...nothing, unanswered: { error: cut, settlements: [] } }
    const [read = null, due, time] = replies as readonly RedisReply[]
    const [holder = null, paused = null, delayed = null] = beside as readonly RedisReply[]
    if (isReplyError(read, 'NOGROUP')) return { ...nothing, isGroupMissing: true }
    this.#calls.seen(read)
    const needed = [read, holder, time, ...[paused, delayed, due].filter((reply) => !isReplyError(reply, 'WRONGTYPE'))]
    const refusal = needed.find((reply) => reply instanceof RedisReplyError)
    if (refusal) return { ...nothing, failures: [refusal] }
    // what was read under a name that went to another is not ours to run: its new holder releases it
    if (slot.token !== '' && holder !== null && replyAsText(holder) !== slot.token)
      return { ...nothing, leaseLost: true }
    const entries = parseXreadgroup(read).map(
      ({ id, fields }): Delivery => ({ id, fields, deliveryCount: 1, returnTo: PARKED_CONSUMER }),
    )
    const now = time === undefined ? undefined : parseTime(time)
    const seen = { ...seenPauses(textOf(paused), now), ...seenDelays(textOf(delayed), now) }
    return { ...nothing, entries, ...seen, ...nextDue(due, now) }
  }
}

const NOTHING_READ: WaitResult = /* @__PURE__ */ Object.freeze({
  ...new Tally().result(),
  entries: [],
  pendingLimitReached: false,
  parkedLimitReached: false,
  hasEnded: false,
  groupRecreated: false,
  isGroupMissing: false,
})

/** What is of another type is absent. */
function textOf(reply: RedisReply): string {
  return reply instanceof RedisReplyError ? '' : replyAsText(reply ?? '')
}

/** The first of the index that does not run. */
function firstDue(due: string): RedisCommand {
  return ['zrangebyscore', due, '-inf', `(${RUNNING}`, 'WITHSCORES', 'LIMIT', 0, 1]
}

function nextDue(reply: RedisReply | undefined, now: number | undefined): { readonly dueInMs?: number } {
  const [, score] = reply === undefined || reply instanceof RedisReplyError ? [] : firstWithScore(reply)
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
