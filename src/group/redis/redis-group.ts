import { splitIntoChunks } from '../../core/chunks.ts'
import type { JoinedCommand, ScriptQuestion } from '../../core/outcome.ts'
import type { PlainReply } from '../../core/plain-reply.ts'
import { RedisConnectionError, RedisReplyError } from '../../errors.ts'
import type { HeldEntry } from '../delivery.ts'
import type {
  Group,
  GroupMeasurement,
  HandBack,
  IdleRenewalResult,
  PollerRunEnd,
  ReadRequest,
  ReadResult,
  Settlement,
  SettleResult,
  Slot,
  SlotKind,
} from '../group.ts'
import { seenDelays } from '../seen-delays.ts'
import { seenPauses } from '../seen-pauses.ts'
import { mgetCommand } from './commands/mget.ts'
import { replyAsText, replyItems } from './commands/reply.ts'
import { parseXreadgroup, xreadgroup } from './commands/xreadgroup.ts'
import { measureBacklogCall, parseBacklogMeasurement } from './measuring.ts'
import type { IdRange } from './ranges.ts'
import { splitIntoIdRanges } from './ranges.ts'
import type { RedisGroupCalls } from './redis-group-calls.ts'
import { heldEntryArguments, settledOf } from './redis-group-calls.ts'
import { finishPollerRunScript } from './scripts/finish-reads.ts'
import { releaseUnreceivedScript } from './scripts/hand-back.ts'
import { planClaimScript } from './scripts/plan-claim.ts'
import { NOT_READ_ANSWERS, readUnlessPendingLimit, SLOT_IF_NOTHING_READ } from './scripts/read-unless-pending-limit.ts'
import { renewIdleScript } from './scripts/renew.ts'
import { MAX_ENTRIES_PER_SCRIPT_CALL } from './scripts/script.ts'
import type { RedisCall } from './sender.ts'
import { isRequestTooLarge } from './sender.ts'
import { giveSlotBackCalls, takeSlotCalls } from './take-slot-calls.ts'
import type { RedisReply } from './transport.ts'
import type { WaitingTransports } from './waiting-transports.ts'

/** What reads ask for at most: less once an answer was larger than a service takes, for as long as the connection lasts. */
export interface ReadLimits {
  mostEntries: number
}

/** Ranges of ids in one hand-back, at most. */
const MAX_RANGES_OF_TURN = 1_000

/** The group port on Redis, put together from commands and scripts. */
export class RedisGroup implements Group {
  readonly calls: RedisGroupCalls
  readonly #size: ReadLimits
  /** The connections of those who listen. */
  readonly waiting: WaitingTransports

  /** @param size What the connection's reads ask for at most. */
  constructor(calls: RedisGroupCalls, size: ReadLimits, waiting: WaitingTransports) {
    this.calls = calls
    this.#size = size
    this.waiting = waiting
  }

  get roundTrips(): number {
    return this.calls.sender.roundTrips
  }

  async takeSlot(kind: SlotKind, slots: number, leaseMs: number): Promise<Slot | undefined> {
    const taking = takeSlotCalls(this.calls.address, kind, slots, leaseMs)
    const [reply, told] = await this.calls.sender.send([taking.call, ...taking.also])
    return taking.slotOf(reply, told)
  }

  async giveSlot(slot: Slot, end?: PollerRunEnd): Promise<boolean> {
    if (slot.token === '') return false
    const lease = this.calls.lease(slot)
    if (!end) {
      await this.calls.sender.send(giveSlotBackCalls(this.calls.address, slot))
      return false
    }
    const { stream, keys, settings } = this.calls.address
    const flag = end.takesFlag ? [keys.wake] : []
    const ranges = splitIntoIdRanges(end.known)
    const { from, ids } = ranges.pop() as IdRange
    const finish = {
      script: finishPollerRunScript,
      keys: [stream, lease, keys.due, keys.state, ...flag],
      args: [
        ...this.calls.fence(slot),
        slot.leaseMs,
        settings.minIdleMs,
        Number(end.hasAcked),
        Number(end.isInDoubt),
        from,
        ...ids,
      ],
    }
    const replies = await this.calls.sender.send([...this.#handBack(slot, ranges, end.turn), finish])
    const refusal = replies.find((reply) => reply instanceof RedisReplyError)
    if (refusal) throw refusal
    return end.takesFlag && replies.at(-1) === 1
  }

  async settle(slot: Slot, settlements: readonly Settlement[], handBack?: HandBack): Promise<SettleResult> {
    const { calls } = this
    if (!handBack || slot.token === '') return (await calls.settleWith(slot, settlements, [])).settled
    const ranges = splitIntoIdRanges([...handBack.known, ...settlements.map(({ id }) => id)])
    return (await calls.settleWith(slot, settlements, this.#handBack(slot, ranges, handBack.turn))).settled
  }

  /** Each range has a number of its own, above those of the turns before. */
  #handBack(slot: Slot, ranges: readonly IdRange[], turn: number): RedisCall[] {
    const { stream, keys, settings } = this.calls.address
    return ranges.map(({ from, to, ids }, n) => ({
      script: releaseUnreceivedScript,
      keys: [stream, this.calls.lease(slot), keys.due, keys.state],
      args: [
        ...this.calls.fence(slot),
        slot.leaseMs,
        settings.minIdleMs,
        turn * MAX_RANGES_OF_TURN + n,
        from,
        to,
        ...ids,
      ],
    }))
  }

  async settleAndRead(slot: Slot, settlements: readonly Settlement[], request: ReadRequest): Promise<ReadResult> {
    const count = Math.min(request.count, this.#size.mostEntries)
    const again = (left: readonly Settlement[]) => {
      this.#size.mostEntries = Math.ceil(count / 2)
      return this.settleAndRead(slot, left, request)
    }
    try {
      const first = await this.#settleAndRead(slot, settlements, { ...request, count })
      const tooLarge = first.failures.find(isRequestTooLarge)
      if (tooLarge === undefined || count === 1) return first
      // what the refused answer held never reached us, and is handed back at the end
      const second = await again([])
      return {
        ...second,
        ...settledOf(first),
        failures: [...first.failures.filter((failure) => failure !== tooLarge), ...second.failures],
        leaseLost: first.leaseLost || second.leaseLost,
        groupRecreated: first.groupRecreated || second.groupRecreated,
      }
    } catch (error) {
      // the service refused the request as a whole
      if (!isRequestTooLarge(error as Error) || count === 1) throw error
      return again(settlements)
    }
  }

  async #settleAndRead(slot: Slot, settlements: readonly Settlement[], request: ReadRequest): Promise<ReadResult> {
    const read = this.#read(slot, request)
    const answered = await this.calls.settleAnd(slot, settlements, read, request.riders)
    const { settled, replies: given, ...told } = answered
    const replies =
      read.length === 1 ? given : [given[0] ?? null, ...(await this.calls.texts(this.calls.besideRead(slot), given[1]))]
    const nothing = {
      ...settled,
      entries: [],
      pendingLimitReached: false,
      parkedLimitReached: false,
      hasEnded: false,
      ...told,
    }
    // entries that came while it is not known whose the slot is are not run: they are handed back with those that did not come
    if (replies.some((reply) => reply instanceof RedisConnectionError)) return nothing
    const refusal = replies.slice(0, 2).find((reply) => reply instanceof RedisReplyError)
    if (refusal) return { ...nothing, failures: [...settled.failures, refusal] }
    const { reply, holder, seen } = readOf(replies as readonly RedisReply[])
    // what was read under a name that went to another is not ours to run: its new holder releases it
    if (reply === NOT_READ_ANSWERS.slotLost || (holder !== null && replyAsText(holder) !== slot.token))
      return { ...nothing, leaseLost: true }
    if (typeof reply === 'number')
      return {
        ...nothing,
        ...seen,
        pendingLimitReached: reply === NOT_READ_ANSWERS.pendingLimit,
        parkedLimitReached: reply === NOT_READ_ANSWERS.parkedLimit,
        hasEnded: reply === NOT_READ_ANSWERS.ended,
      }
    return { ...nothing, ...seen, entries: parseXreadgroup(reply) }
  }

  #read(slot: Slot, { count, maxPending, maxParked = Infinity, ifEmpty = 'keep' }: ReadRequest): RedisCall[] {
    const { stream, group, keys, settings } = this.calls.address
    const lease = this.calls.lease(slot)
    if (maxPending === undefined)
      return [xreadgroup(stream, group, slot.consumerName, count), mgetCommand(...this.calls.besideRead(slot))]
    const most = maxParked === Infinity ? 'inf' : maxParked
    const bounds = [slot.leaseMs, settings.minIdleMs, count, maxPending, most, SLOT_IF_NOTHING_READ[ifEmpty]]
    const args = [...this.calls.fence(slot), ...bounds]
    return [
      { script: readUnlessPendingLimit, keys: [stream, lease, keys.due, keys.wake, keys.paused, keys.state], args },
    ]
  }

  async renew(slot: Slot, held: readonly HeldEntry[]): Promise<IdleRenewalResult> {
    const { stream, keys } = this.calls.address
    const replies = await this.calls.sender.send(
      splitIntoChunks(held, MAX_ENTRIES_PER_SCRIPT_CALL).map((chunk) => ({
        script: renewIdleScript,
        keys: [stream, this.calls.lease(slot), keys.paused],
        args: [...this.calls.fence(slot), ...heldEntryArguments(chunk)],
      })),
    )
    const seen = replies.map((reply) => (Array.isArray(reply) ? (reply as readonly RedisReply[]) : [reply]))
    const counts = seen.map(([count]) => (typeof count === 'number' ? count : 0))
    const [, text = '', now = ''] = seen.at(-1) ?? []
    return {
      lost: counts.reduce((sum, lost) => sum + Math.max(0, lost), 0),
      leaseLost: counts.includes(-1),
      ...seenPauses(replyAsText(text), Number(replyAsText(now))),
    }
  }

  async planClaim(dueInMs: number): Promise<boolean> {
    const { keys } = this.calls.address
    const call = { script: planClaimScript, keys: [keys.nextClaim], args: [Math.ceil(dueInMs)] }
    return (await this.calls.sender.call(call)) === 1
  }

  ask(commands: readonly (JoinedCommand | ScriptQuestion)[]): Promise<readonly PlainReply[]> {
    return this.calls.ask(commands)
  }

  async measure(): Promise<GroupMeasurement | undefined> {
    const [reply] = await this.calls.sender.send([measureBacklogCall(this.calls.address)])
    const measured = parseBacklogMeasurement(reply)
    if (measured instanceof RedisReplyError) throw measured
    return measured
  }
}

/** What a script or the commands of a read answer: the entries or a number of NOT_READ_ANSWERS, whose the slot is (as far as that has yet to be inspected), and what is paused. */
function readOf(replies: readonly RedisReply[]) {
  const [first = null, holder, paused = null, delayed = null] = replies
  if (holder !== undefined)
    return { reply: first, holder, seen: { ...seenPauses(textOf(paused)), ...seenDelays(textOf(delayed)) } }
  const [reply = null, text = '', now = ''] = replyItems(first)
  return { reply, holder: null, seen: seenPauses(replyAsText(text), Number(replyAsText(now))) }
}

function textOf(reply: RedisReply): string {
  return reply instanceof RedisReplyError ? '' : replyAsText(reply ?? '')
}
