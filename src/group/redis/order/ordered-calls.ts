import { splitIntoChunks } from '../../../core/chunks.ts'
import type { JoinedCommand } from '../../../core/outcome.ts'
import { isPlainAck, OUTCOME_KINDS } from '../../../core/outcome.ts'
import { CLAIMER_SLOT_COUNT, slotConsumerNames } from '../../consumer-names.ts'
import type { Delivery } from '../../delivery.ts'
import type { Settlement, SettleResult, Slot } from '../../group.ts'
import { isDeadLetterSettlement } from '../../group.ts'
import { lastErrorOf } from '../../last-error.ts'
import type { LaneKeys, OrderedGroup, Ordering } from '../../ordering.ts'
import { laneKeys, namedLaneKeys, waitsInOrder } from '../../ordering.ts'
import { Tally } from '../../tally.ts'
import { toPlainReply } from '../commands/reply.ts'
import type { SettledWithReplies } from '../redis-group-calls.ts'
import { RedisGroupCalls, withAnswers } from '../redis-group-calls.ts'
import { CREATE_GROUP_SCRIPT_ANSWERS } from '../scripts/create-group.ts'
import type { LuaScript } from '../scripts/script.ts'
import { MAX_ENTRIES_PER_SCRIPT_CALL } from '../scripts/script.ts'
import { SETTLE_SCRIPT_ANSWERS } from '../scripts/settle.ts'
import type { RedisCall, ScriptCall } from '../sender.ts'
import { isReplyError, isScript, isUnanswered } from '../sender.ts'
import { countChunk, inOrder, joinsOf, settleScript } from '../settling.ts'
import type { CommandArgument, ReplyOrConnectionError } from '../transport.ts'
import { createGroupInOrderScript } from './claim-in-order.ts'
import { settleInOrderScript } from './settle-in-order.ts'
import { Turns } from './turns.ts'

/** What sends the calls of a group that keeps order: settlements know lanes, and a group that is made again ends all leases. */
export class OrderedCalls extends RedisGroupCalls {
  readonly ordering: Ordering
  readonly lanes: LaneKeys
  /** Who hears what became of settlements. */
  order: Pick<OrderedGroup, 'mayHaveLanes' | 'listener'> = { mayHaveLanes: true, listener: undefined }
  /** Who listens settles and reads side by side. */
  readonly #turns = new Turns()

  readonly #sentTexts = new Set<LuaScript>()

  constructor({ address, sender, lived }: RedisGroupCalls, ordering: Ordering) {
    super(address, sender, lived)
    this.ordering = ordering
    this.lanes = laneKeys(address.keys)
  }

  /** What KEYS of a script that knows lanes end with. */
  get laneKeys(): readonly string[] {
    return namedLaneKeys(this.address.keys)
  }

  /** A call of another script of the same keys and arguments, which knows lanes. */
  inOrder(call: ScriptCall, script: ScriptCall['script']): ScriptCall {
    return { script, keys: [...call.keys, ...this.laneKeys], args: call.args }
  }

  override settleWith(
    slot: Slot,
    settlements: readonly Settlement[],
    calls: readonly RedisCall[],
    riders?: readonly JoinedCommand[],
  ): Promise<SettledWithReplies> {
    return this.#turns.take(() => this.#settleWith(slot, settlements, calls, riders))
  }

  async #settleWith(
    slot: Slot,
    settlements: readonly Settlement[],
    calls: readonly RedisCall[],
    riders: readonly JoinedCommand[] = [],
  ): Promise<SettledWithReplies> {
    if (settlements.some(({ outcome }) => !isPlainAck(outcome))) this.order.mayHaveLanes = true
    const settling = this.#settling(slot, settlements)
    const answers = await this.sender.ask([...settling.calls, ...riders, ...calls])
    await this.#joinAgain(settling, answers)
    if (answers.some(isUnanswered)) this.order.listener?.unanswered()
    const settled = settling.result(answers)
    this.#tellStored(settling.joined, settled)
    this.order.listener?.waiting(settling.waiting(answers))
    const from = settling.calls.length
    const at = from + riders.length
    return {
      settled,
      replies: answers.slice(at),
      ...(riders.length > 0 && { answers: answers.slice(from, at).map(toPlainReply) }),
    }
  }

  /** A server that has forgotten a script leaves out what joins, and hears of what was left before it is: both are sent again, in order. */
  async #joinAgain({ joins, lefts }: JoinsInOrder, answers: ReplyOrConnectionError[]): Promise<void> {
    const refused = joins.flatMap((call, at) =>
      isScript(call) && isReplyError(answers[at], 'NOSCRIPT') ? [{ call, at }] : [],
    )
    if (refused.length === 0) return
    const again = await this.sender.ask([...refused.map(({ call }) => this.sender.withText(call)), ...lefts])
    for (const [n, { at }] of refused.entries()) answers[at] = again[n] as ReplyOrConnectionError
  }

  /** With its text the first time: what goes with it in one write comes after it in any case. */
  #joining(call: RedisCall): RedisCall {
    if (!isScript(call)) return call
    if (this.#sentTexts.has(call.script)) return this.sender.withDigest(call)
    this.#sentTexts.add(call.script)
    return this.sender.withText(call)
  }

  /** What settles, and how to read the answers. */
  #settling(slot: Slot, settlements: readonly Settlement[]) {
    const { join: joined = [], other: others = [] } = Object.groupBy(settlements, ({ outcome }) =>
      OUTCOME_KINDS[outcome.kind].op === 'join' ? 'join' : 'other',
    )
    const joins = joinsOf(this.address, slot, joined)
    const lefts = splitIntoChunks(joined, MAX_ENTRIES_PER_SCRIPT_CALL).map((chunk) => this.#left(slot, chunk))
    // where the dead letters' key is denied, the server refuses every script that names it
    const byKey = this.#splitByKey(others)
    const chunks = byKey.flatMap((some) => splitIntoChunks(inOrder(some), MAX_ENTRIES_PER_SCRIPT_CALL))
    const first = joins.length + lefts.length
    return {
      joined,
      /** How many were set aside behind others. */
      waiting: (answers: readonly ReplyOrConnectionError[]) =>
        chunks.reduce((sum, chunk, n) => sum + waitingOf(chunk, answers[first + n]), 0),
      joins: joins.map(({ call }) => call),
      lefts,
      calls: [
        ...joins.map(({ call }) => this.#joining(call)),
        ...lefts,
        ...chunks.map((chunk) => this.#settle(slot, chunk)),
      ],
      result(answers: readonly ReplyOrConnectionError[]): SettleResult {
        const tally = new Tally()
        for (const [n, { chunk }] of joins.entries()) countChunk(tally, chunk, answers[n])
        for (const [n, chunk] of chunks.entries()) countChunk(tally, chunk, answers[first + n])
        return tally.result(answers.find(isUnanswered))
      },
    }
  }

  /** What names the dead letters' key, and what does not. What waits for a letter of its key is settled after it, or not at all. */
  #splitByKey(settlements: readonly Settlement[]): readonly (readonly Settlement[])[] {
    const letters = settlements.filter(isDeadLetterSettlement)
    const waits = this.ordering.waitsForLetters ? new Set(letters.map((one) => this.#laneOf(one))) : new Set()
    waits.delete(undefined)
    const isBeside = (one: Settlement) =>
      isDeadLetterSettlement(one) || (waits.size > 0 && !isPlainAck(one.outcome) && waits.has(this.#laneOf(one)))
    return letters.length === 0
      ? [settlements]
      : [settlements.filter((one) => !isBeside(one)), settlements.filter((one) => isBeside(one))]
  }

  #tellStored(joined: readonly Settlement[], { notAcked = [], failed = [], unanswered }: SettleResult): void {
    const notDone = new Set([
      ...notAcked,
      ...failed.map(({ settlement }) => settlement),
      ...(unanswered?.settlements ?? []),
    ])
    if (notDone.size > 0) this.order.mayHaveLanes = true
    for (const one of joined) this.order.listener?.stored(one.id, !notDone.has(one))
  }

  /** The same; where one of the calls finds no group, makes it again: one that lived before ends all leases, ours as well. */
  override settleAnd(
    slot: Slot,
    settlements: readonly Settlement[],
    calls: readonly RedisCall[],
    riders?: readonly JoinedCommand[],
  ): Promise<SettledWithReplies & { readonly groupRecreated: boolean }> {
    return this.#turns.take(() => this.#settleAnd(slot, settlements, calls, riders))
  }

  async #settleAnd(
    slot: Slot,
    settlements: readonly Settlement[],
    calls: readonly RedisCall[],
    riders?: readonly JoinedCommand[],
  ): Promise<SettledWithReplies & { readonly groupRecreated: boolean }> {
    const first = await this.#settleWith(slot, settlements, calls, riders)
    if (!first.replies.some((reply) => isReplyError(reply, 'NOGROUP'))) {
      this.seen(first.replies[0])
      return { ...first, groupRecreated: false }
    }
    const ridden = first.answers && { answers: first.answers }
    const [created = null] = await this.sender.ask([this.#createInOrder()])
    if (created instanceof Error) return { ...withAnswers(first.settled, [created]), ...ridden, groupRecreated: false }
    this.lived.add(this.name)
    // the leases of one that lived before are gone: nothing is read under them
    const isRecreated = created === CREATE_GROUP_SCRIPT_ANSWERS.recreated
    const again = isRecreated ? first : withAnswers(first.settled, await this.sender.ask(calls))
    return { ...again, ...ridden, groupRecreated: isRecreated }
  }

  #createInOrder(): ScriptCall {
    const { stream, group, keys, settings } = this.address
    return {
      script: createGroupInOrderScript,
      keys: [stream, keys.state, ...this.slotNames.map((name) => keys.slot(name))],
      args: [group, settings.startAt, this.lived.has(this.name) ? 1 : 0],
    }
  }

  /** Names of the slots that runs of this group may have. */
  get slotNames(): readonly string[] {
    return [
      ...slotConsumerNames('poller', this.address.settings.maxPollers),
      ...slotConsumerNames('claimer', CLAIMER_SLOT_COUNT),
    ]
  }

  #settle(slot: Slot, chunk: readonly Settlement[]): ScriptCall {
    // acknowledgements stand among the others, in the order of their ids
    const { keys, args } = settleScript(this.address, slot, chunk.filter(isDeadLetterSettlement))
    const head = args.slice(0, HEAD_ARGUMENTS)
    const told = chunk.flatMap((one): readonly CommandArgument[] =>
      isPlainAck(one.outcome)
        ? [one.isTaken ? 'taken' : 'ack', one.id, one.deliveryCount, 0]
        : settleScript(this.address, slot, [one]).args.slice(HEAD_ARGUMENTS),
    )
    return this.inOrder(
      { script: settleInOrderScript, keys, args: [...head, ...told, ...this.#laneArguments(chunk)] },
      settleInOrderScript,
    )
  }

  /** Of entries that other calls may have taken off, whose lanes go on; or set aside, which become members. */
  #left(slot: Slot, chunk: readonly Settlement[]): ScriptCall {
    const { keys, stream } = this.address
    const touched = [stream, this.lease(slot), keys.due, keys.waiting]
    const args = [
      ...this.fence(slot),
      '',
      ...chunk.flatMap(({ id, deliveryCount }) => ['left', id, deliveryCount, 0]),
      ...this.#laneArguments(chunk),
    ]
    return this.inOrder({ script: settleInOrderScript, keys: touched, args }, settleInOrderScript)
  }

  /** Lanes of what stays undone, or may, as far as the server does not know them, and last errors. */
  #laneArguments(chunk: readonly Settlement[]): CommandArgument[] {
    const known = chunk.flatMap((one): CommandArgument[] => {
      const mayStay = !isPlainAck(one.outcome) || OUTCOME_KINDS[one.outcome.kind].op === 'join'
      const lane = mayStay ? this.#laneOf(one) : undefined
      return lane === undefined ? [] : [one.id, lane]
    })
    const errors = chunk.flatMap((one): CommandArgument[] => {
      const text = lastErrorOf(one)
      return text === undefined ? [] : [one.id, text]
    })
    const flags = Number(this.ordering.waitsForLetters) + (errors.length > 0 ? 2 : 0)
    return [...known, known.length / 2, ...errors, ...(errors.length > 0 ? [errors.length / 2] : []), flags]
  }

  /** The lane of an entry that the server may not know. */
  #laneOf(settlement: Settlement): string | undefined {
    const { delivery } = settlement as { readonly delivery?: Delivery }
    return delivery && (!settlement.isTaken || delivery.isOfLane) ? this.ordering.laneOf(delivery) : undefined
  }
}

function waitingOf(chunk: readonly Settlement[], reply: ReplyOrConnectionError | undefined): number {
  if (!Array.isArray(reply)) return 0
  const [, ...statuses] = reply
  return chunk.filter(({ outcome }, n) => statuses[n] === SETTLE_SCRIPT_ANSWERS.done && waitsInOrder(outcome)).length
}

/** What acknowledges with what joins it, and what notifies lanes of it. */
interface JoinsInOrder {
  readonly joins: readonly RedisCall[]
  readonly lefts: readonly ScriptCall[]
}

/** What arguments of a settlement begin with: group, consumer, token, dead letters kept. */
const HEAD_ARGUMENTS = 4
