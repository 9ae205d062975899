import { compareEntryIds } from '../../../core/entry.ts'
import { delayKeys } from '../../../core/keys.ts'
import { RedisReplyError } from '../../../errors.ts'
import type { ReadRequest, ReadResult, Settlement, Slot } from '../../group.ts'
import { seenDelays } from '../../seen-delays.ts'
import { seenPauses } from '../../seen-pauses.ts'
import { getCommand } from '../commands/get.ts'
import { replyAsText, replyItems } from '../commands/reply.ts'
import { parseXpending, xpending } from '../commands/xpending.ts'
import { xreadgroup } from '../commands/xreadgroup.ts'
import { settledOf } from '../redis-group-calls.ts'
import { NOT_READ_ANSWERS } from '../scripts/read-unless-pending-limit.ts'
import type { RedisCall, ScriptCall } from '../sender.ts'
import { isRequestTooLarge, isUnanswered } from '../sender.ts'
import type { RedisReply, ReplyOrConnectionError } from '../transport.ts'
import { lookForLettersScript } from './go-on.ts'
import type { OrderedCalls } from './ordered-calls.ts'
import { cameBy, LOOKED, NOTHING } from './read-answers.ts'
import { ackBeforeReadScript, readInOrderScript, STANDING_ANSWER, UNPLACED_ANSWER } from './read-in-order.ts'
import { mayRide, withAcks } from './riding-acks.ts'

/** What one request that reads was answered. */
interface Asked {
  /** What was settled, and seen; nothing that was read. */
  readonly result: ReadResult
  /** Nothing is known of what was read: the result is all there is. */
  readonly isOver: boolean
  /** Of the script. */
  readonly told: readonly RedisReply[]
  /** Of the calls behind the script. */
  readonly behind: readonly ReplyOrConnectionError[]
}

/** Where answers of both scripts say what is paused, and the server's time. */
const SEEN_AT = 4

/** What both answer to whoever has lost the slot. */
const SLOT_LOST = [NOT_READ_ANSWERS.slotLost, 0, '', -1]

/**
 * Reads a group in order, under one slot after the other. A read that has to inspect what there is before it, as the first under a slot has, is one script. Any other is XREADGROUP, and what is pending then between the last entry that was heard
 * of and the first that came shows whether others were read under the slot's name, by whoever had lost it or by a request that was sent again: a script that hands entries on takes the server twice as long.
 */
export class OrderedReads {
  readonly #calls: OrderedCalls
  /** By the tokens of slots under which was read, so that all that is pending had a lane by then: the id above which nothing was. */
  readonly #begun = new Map<string, string>()
  /** Somebody has deleted first members: their lanes have to be given some. */
  lacksFirsts = false
  /** Tokens of slots under whose names more was read than any answer says. */
  readonly #unheard = new Set<string>()
  /** What reads ask for at most: less once an answer was larger than a service takes. */
  #mostEntries = Infinity

  constructor(calls: OrderedCalls) {
    this.#calls = calls
  }

  /** Whether anything was read under a slot. */
  hasBegun({ token }: Slot): boolean {
    return this.#begun.has(token)
  }

  /** @param isPlaced All that was pending has its lane by then. @returns `undefined` while something is pending that no lane has. */
  async read(
    slot: Slot,
    settlements: readonly Settlement[],
    request: ReadRequest,
    isPlaced = false,
  ): Promise<ReadResult | undefined> {
    const after = this.#begun.get(slot.token)
    if (after === undefined || request.maxPending !== undefined || this.#unheard.has(slot.token))
      return this.#inspectAndRead(slot, settlements, request, after, isPlaced)
    const { result, isOver, told, behind } = await this.#askAndRead(slot, settlements, request, after)
    if (isOver) return result
    const [reply = null, pending = null] = behind as readonly RedisReply[]
    if (told[0] === NOT_READ_ANSWERS.slotLost) return { ...result, leaseLost: true }
    const came = cameBy(reply)
    const id = came.entries?.[0]?.id
    const [first] = parseXpending(pending)
    // what is below comes again since somebody has set the group back
    if (first?.id === id || (id !== undefined && compareEntryIds(id, after) <= 0)) {
      this.#begin(slot, came, after)
      return { ...result, ...came }
    }
    // nobody has heard of what was read before that: all is given from there on, and nothing is read beyond it
    this.#unheard.add(slot.token)
    const { riders: _riders, ...rest } = request
    const again = await this.#inspectAndRead(slot, [], rest, after, true)
    const { answers, failures } = result
    const answered = answers && { answers }
    return (
      again && {
        ...again,
        ...settledOf(result),
        ...answered,
        failures: [...failures, ...again.failures],
        isInDoubt: true,
      }
    )
  }

  /** Reads, if nothing speaks against it. */
  async #inspectAndRead(
    slot: Slot,
    settlements: readonly Settlement[],
    request: ReadRequest,
    after: string | undefined,
    isPlaced: boolean,
  ): Promise<ReadResult | undefined> {
    const { stream, keys } = this.#calls.address
    const { maxPending = '', maxParked = Infinity } = request
    const isFirst = after === undefined
    const waits = this.#calls.ordering.waitsForLetters
    const parkedBound = maxParked === Infinity ? 'inf' : maxParked
    const bounds = [this.#most(request), maxPending, parkedBound, after ?? '', Number(waits), Number(isPlaced)]
    const call = {
      script: readInOrderScript,
      keys: [stream, this.#calls.lease(slot), keys.waiting, keys.wake, keys.paused, ...this.#calls.laneKeys],
      args: [...this.#calls.fence(slot), ...bounds],
    }
    const letters = isFirst && waits ? [this.#lookForLetters(slot)] : []
    const { result, isOver, told, behind } = await this.#ask(slot, settlements, request, call, letters)
    if (isOver) return result
    const [reply = null, hasLanes, last] = told
    this.lacksFirsts = reply === STANDING_ANSWER
    if ((reply === UNPLACED_ANSWER || this.lacksFirsts) && settlements.length === 0) return undefined
    if (hasLanes !== 0) this.#calls.order.mayHaveLanes = true
    else if (isFirst) this.#calls.order.mayHaveLanes = false
    const came = cameBy(reply)
    // of a group that is paused as a whole nothing was inspected
    if (typeof reply !== 'number' || LOOKED.has(reply)) {
      this.#begin(slot, came, replyAsText(last))
      if (replyAsText(last) === after) this.#unheard.delete(slot.token)
    }
    const [gone = 0] = behind
    if (gone instanceof Error) return { ...result, ...came, failures: [...result.failures, gone] }
    const deadLettersGone = Number(gone)
    return { ...result, ...came, ...(deadLettersGone > 0 && { counts: { ...result.counts, deadLettersGone } }) }
  }

  /** Reads, and asks then which is the first of what was read under the slot and nobody has heard of. */
  async #askAndRead(
    slot: Slot,
    settlements: readonly Settlement[],
    request: ReadRequest,
    after: string,
  ): Promise<Asked> {
    const { stream, group, keys } = this.#calls.address
    const { consumerName, token } = slot
    const script = {
      script: ackBeforeReadScript,
      keys: [stream, this.#calls.lease(slot), keys.paused],
      args: [group, token],
    }
    const asked = await this.#ask(slot, settlements, request, script, [
      xreadgroup(stream, group, consumerName, this.#most(request)),
      xpending(stream, group, 1, `(${after}`, consumerName),
    ])
    const { result, behind } = asked
    const refusal = behind.find((reply) => reply instanceof RedisReplyError)
    return refusal ? { ...asked, isOver: true, result: this.#refused(result, request, refusal) } : asked
  }

  /** What the answer held is the next run's to make members of. */
  #refused(result: ReadResult, request: ReadRequest, refusal: RedisReplyError): ReadResult {
    if (isRequestTooLarge(refusal)) this.#mostEntries = Math.ceil(this.#most(request) / 2)
    return { ...result, failures: [...result.failures, refusal] }
  }

  #most({ count }: ReadRequest): number {
    return Math.min(count, this.#mostEntries)
  }

  /** Something was read under the slot. */
  #begin({ token }: Slot, { entries }: Partial<ReadResult>, after: string): void {
    this.#begun.set(token, entries?.at(-1)?.id ?? after)
  }

  /** One request. @param script The ids of what it acknowledges are its last arguments. */
  async #ask(
    slot: Slot,
    settlements: readonly Settlement[],
    request: ReadRequest,
    script: ScriptCall,
    behind: readonly RedisCall[],
  ): Promise<Asked> {
    const { stream, delays } = this.#calls.address
    const acks = mayRide(settlements) ? settlements : []
    const others = acks === settlements ? [] : settlements
    const call = { ...script, args: [...script.args, ...acks.map(({ id }) => id)] }
    const calls = [call, ...behind, ...(delays ? [getCommand(delayKeys(stream).next)] : [])]
    const { settled: apart, replies, ...told } = await this.#calls.settleAnd(slot, others, calls, request.riders)
    // whoever made the group again has lost the slot
    const heard = told.groupRecreated ? [SLOT_LOST] : replies
    const [reply = null] = heard
    const settled = acks.length > 0 ? withAcks(apart, acks, heard) : apart
    const nothing = { ...settled, ...NOTHING, ...told }
    const over = { isOver: true, told: [], behind: [] }
    // what a lost group held is nobody's: whoever made it again ends
    if (told.groupRecreated) return { ...over, result: { ...nothing, leaseLost: true } }
    if (replies.some(isUnanswered)) return { ...over, result: nothing }
    if (reply instanceof RedisReplyError) return { ...over, result: this.#refused(nothing, request, reply) }
    const items = replyItems(reply as RedisReply)
    const [text, now] = items.slice(SEEN_AT)
    const delayed = delays ? replies.at(-1) : null
    const seen = {
      ...seenPauses(replyAsText(text), Number(replyAsText(now))),
      ...(delayed instanceof Error ? {} : seenDelays(replyAsText(delayed))),
    }
    return { result: { ...nothing, ...seen }, isOver: false, told: items, behind: replies.slice(1, 1 + behind.length) }
  }

  /** Whether the letters are still there that keys wait for: some of them a run. */
  #lookForLetters(slot: Slot): ScriptCall {
    const { stream, keys } = this.#calls.address
    return {
      script: lookForLettersScript,
      keys: [stream, this.#calls.lease(slot), keys.due, keys.waiting, keys.deadLetters, ...this.#calls.laneKeys],
      args: this.#calls.fence(slot),
    }
  }
}
