import { RedisReplyError } from '../../../errors.ts'
import type { EntryWaiter, Group, Slot, WaitRequest, WaitResult } from '../../group.ts'
import { UNPLACED_CONDITION } from '../../ordering.ts'
import { seenDelays } from '../../seen-delays.ts'
import { seenPauses } from '../../seen-pauses.ts'
import { mgetCommand } from '../commands/mget.ts'
import { replyAsText, replyItems, toPlainReply } from '../commands/reply.ts'
import { expireAfter, setIfAbsent } from '../commands/set.ts'
import { parseTime, timeCommand } from '../commands/time.ts'
import { parseXinfoGroups, xinfoGroups } from '../commands/xinfo-groups.ts'
import { xread } from '../commands/xread.ts'
import { ANSWER_MS, firstDue, NOTHING_READ, nextDue } from '../entry-waiter.ts'
import type { RedisCall } from '../sender.ts'
import { CallSender, isReplyError, isUnanswered } from '../sender.ts'
import type { RedisReply, ReplyOrConnectionError, WaitingTransport } from '../transport.ts'
import { DEFAULT_REPLY_TIMEOUT_MS } from '../transport.ts'
import type { WaitingTransports } from '../waiting-transports.ts'
import type { OrderedCalls } from './ordered-calls.ts'

/** The bell has rung: the stream has an entry that the group has not. */
const RUNG = Symbol('rung')

/**
 * Reads the new entries of a group that keeps order when they come. The wait is a doorbell and takes nothing, so that it does no harm where its answer is lost; what is at the door is read as always, behind the fence,
 * on the connection that all else goes by. Over REST each look is such a read.
 */
export class OrderedEntryWaiter implements EntryWaiter {
  readonly #calls: OrderedCalls
  readonly #connections: WaitingTransports
  readonly #group: Group
  /** `undefined` where no request can wait. */
  readonly #transport: WaitingTransport | undefined
  readonly #sender: CallSender | undefined
  #limitMs = 0
  /** The id that the group was given last; `undefined` before it was asked. */
  #last: string | undefined

  constructor(calls: OrderedCalls, connections: WaitingTransports, group: Group) {
    this.#calls = calls
    this.#connections = connections
    this.#group = group
    this.#transport = connections.take()
    this.#sender = this.#transport && new CallSender(this.#transport, () => this.#limitMs)
  }

  get maxWaitMs(): number {
    return this.#transport?.maxWaitMs ?? 0
  }

  async end(): Promise<void> {
    if (this.#transport) await this.#connections.leave(this.#transport)
  }

  async read(slot: Slot, request: WaitRequest): Promise<WaitResult> {
    if (!this.#sender) return this.#look(slot, request)
    const { riders = [], count } = request
    const before = this.#before(request)
    const bell = this.#last === undefined ? [] : [this.#bell(this.#last, request.waitMs)]
    const [stream, beside] = [this.#calls.address.stream, mgetCommand(...this.#calls.besideRead(slot))]
    const asked = [xinfoGroups(stream), beside, ...this.#beside(request)]
    if (bell.length === 0) this.#limitMs = DEFAULT_REPLY_TIMEOUT_MS
    const replies = await this.#sender.ask([...before, ...bell, ...asked])
    this.#calls.sender.roundTrips++
    const told = replies.slice(before.length)
    const rung = bell.length > 0 ? told.shift() : null
    const answers = riders.length > 0 ? { answers: replies.slice(0, riders.length).map(toPlainReply) } : {}
    const heard = await this.#heard(slot, rung ?? null, told)
    if (!(RUNG in heard)) return { ...heard, ...answers }
    const read = await this.#group.settleAndRead(slot, [], { count })
    this.#last = read.entries.at(-1)?.id ?? this.#last
    return { ...heard, ...read, ...answers }
  }

  #bell(last: string, waitMs: number): RedisCall {
    // the first command of a client connects, which may take longer than a wait
    const isConnected = this.#transport?.isConnected !== false
    const blockMs = isConnected ? Math.ceil(Math.min(waitMs, this.maxWaitMs)) : 0
    this.#limitMs = isConnected ? blockMs + ANSWER_MS : DEFAULT_REPLY_TIMEOUT_MS
    return xread(this.#calls.address.stream, last, 1, blockMs)
  }

  /** What policies send, and what keeps publishers from waking others. */
  #before({ riders = [], holdFlagMs }: WaitRequest): RedisCall[] {
    const { wake } = this.#calls.address.keys
    return [...riders, ...(holdFlagMs === undefined ? [] : [setIfAbsent(wake, 'held'), expireAfter(wake, holdFlagMs)])]
  }

  /** Asks whether anything was put back to work that is in no lane yet, and what is due. */
  #beside({ asksDue }: WaitRequest): RedisCall[] {
    const { waiting, due } = this.#calls.address.keys
    const inbox = [
      'zrangebylex',
      waiting,
      `[${UNPLACED_CONDITION}\n`,
      `(${UNPLACED_CONDITION}\v`,
      'LIMIT',
      0,
      1,
    ] as const
    return [inbox, ...(asksDue ? [firstDue(due), timeCommand] : [])]
  }

  /** Where no request can wait: reads at once, and asks the rest in the same request. */
  async #look(slot: Slot, request: WaitRequest): Promise<WaitResult> {
    const before = this.#before(request)
    const riders = [...before, ...this.#beside(request)] as NonNullable<WaitRequest['riders']>
    const read = await this.#group.settleAndRead(slot, [], { count: request.count, riders })
    const { answers = [] } = read
    const [inbox, due, time] = answers.slice(before.length) as ReplyOrConnectionError[]
    return {
      ...read,
      answers: answers.slice(0, request.riders?.length ?? 0),
      // what came with it is in no hands yet: the next run makes lanes of that, too
      ...(hasSome(inbox) && read.entries.length === 0 && { leaseLost: true }),
      isGroupMissing: false,
      ...dueOf(due, time),
    }
  }

  /** What was answered beside the bell. */
  async #heard(
    slot: Slot,
    bell: ReplyOrConnectionError,
    [info = null, texts, ...others]: readonly ReplyOrConnectionError[],
  ): Promise<WaitResult & { readonly [RUNG]?: true }> {
    const [holder = null, ...optional] = await this.#calls.texts(this.#calls.besideRead(slot), texts)
    const [paused = null, delayed = null] = optional.map((one) => (isReplyError(one, 'WRONGTYPE') ? null : one))
    const [inbox, due, time] = others
    const told = [bell, info, holder, paused, delayed, inbox, due, time]
    const cut = told.find(isUnanswered)
    if (cut) return { ...NOTHING_READ, unanswered: { error: cut, settlements: [] } }
    const isNoStream = isReplyError(info, 'ERR') && info.message.includes('no such key')
    const refusal = [bell, isNoStream ? null : info, holder, paused, delayed, time].find(
      (reply) => reply instanceof RedisReplyError,
    )
    if (refusal) return { ...NOTHING_READ, failures: [refusal] }
    const { group } = this.#calls.address
    const own = isNoStream ? undefined : parseXinfoGroups(info as RedisReply).find(({ name }) => name === group)
    if (!own) return { ...NOTHING_READ, isGroupMissing: true }
    this.#last = own.lastDeliveredId
    // what was put back to work goes before all that is undone of its key: it is the next run's first concern
    if (replyAsText(holder as RedisReply) !== slot.token || hasSome(inbox)) return { ...NOTHING_READ, leaseLost: true }
    const now = time === undefined ? undefined : parseTime(time as RedisReply)
    return {
      ...NOTHING_READ,
      ...seenPauses(replyAsText(paused as RedisReply), now),
      ...seenDelays(replyAsText(delayed as RedisReply), now),
      ...dueOf(due, time),
      ...(bell !== null && { [RUNG]: true }),
    }
  }
}

function hasSome(reply: ReplyOrConnectionError | undefined): boolean {
  return !(reply instanceof Error) && replyItems(reply).length > 0
}

function dueOf(due: ReplyOrConnectionError | undefined, time: ReplyOrConnectionError | undefined) {
  if (due instanceof Error || time instanceof Error || time === undefined) return {}
  return nextDue(due, parseTime(time))
}
