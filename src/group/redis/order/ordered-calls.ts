import { splitIntoChunks } from '../../../core/chunks.ts'
import type { Entry } from '../../../core/entry.ts'
import type { JoinedCommand } from '../../../core/outcome.ts'
import { isPlainAck, OUTCOME_KINDS } from '../../../core/outcome.ts'
import { CLAIMER_SLOT_COUNT, slotConsumerNames } from '../../consumer-names.ts'
import type { Settlement, SettleResult, Slot } from '../../group.ts'
import { isDeadLetterSettlement } from '../../group.ts'
import type { LaneKeys, OrderedGroup, Ordering } from '../../ordering.ts'
import { laneKeys, waitsInOrder } from '../../ordering.ts'
import { Tally } from '../../tally.ts'
import { toPlainReply } from '../commands/reply.ts'
import type { SettledWithReplies } from '../redis-group-calls.ts'
import { RedisGroupCalls, withAnswers } from '../redis-group-calls.ts'
import { CREATE_GROUP_SCRIPT_ANSWERS } from '../scripts/create-group.ts'
import { MAX_ENTRIES_PER_SCRIPT_CALL } from '../scripts/script.ts'
import { SETTLE_SCRIPT_ANSWERS } from '../scripts/settle.ts'
import type { RedisCall, ScriptCall } from '../sender.ts'
import { isReplyError, isUnanswered } from '../sender.ts'
import { countChunk, inOrder, joinsOf, settleScript } from '../settling.ts'
import type { CommandArgument, ReplyOrConnectionError } from '../transport.ts'
import { createGroupInOrderScript } from './claim-in-order.ts'
import { settleInOrderScript } from './settle-in-order.ts'

/** What sends the calls of a group that keeps order: settlements know lanes, and a group that is made again ends all leases. */
export class OrderedCalls extends RedisGroupCalls {
  readonly ordering: Ordering
  readonly lanes: LaneKeys
  /** Who hears what became of settlements. */
  order: Pick<OrderedGroup, 'mayHaveLanes' | 'listener'> = { mayHaveLanes: true, listener: undefined }

  constructor({ address, sender, lived }: RedisGroupCalls, ordering: Ordering) {
    super(address, sender, lived)
    this.ordering = ordering
    this.lanes = laneKeys(address.keys)
  }

  /** What KEYS of a script that knows lanes end with. */
  get laneKeys(): readonly string[] {
    return [this.address.keys.state, this.lanes.lanes, this.lanes.laneOf]
  }

  /** A call of another script of the same keys and arguments, which knows lanes. */
  inOrder(call: ScriptCall, script: ScriptCall['script']): ScriptCall {
    return { script, keys: [...call.keys, ...this.laneKeys], args: call.args }
  }

  override async settleWith(
    slot: Slot,
    settlements: readonly Settlement[],
    calls: readonly RedisCall[],
    riders: readonly JoinedCommand[] = [],
  ): Promise<SettledWithReplies> {
    if (settlements.some(({ outcome }) => !isPlainAck(outcome))) this.order.mayHaveLanes = true
    const settling = this.#settling(slot, settlements)
    const answers = await this.sender.ask([...settling.calls, ...riders, ...calls])
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

  /** What settles, and how to read the answers. */
  #settling(slot: Slot, settlements: readonly Settlement[]) {
    const { join: joined = [], other: others = [] } = Object.groupBy(settlements, ({ outcome }) =>
      OUTCOME_KINDS[outcome.kind].op === 'join' ? 'join' : 'other',
    )
    const joins = joinsOf(this.address, slot, joined)
    const lefts = splitIntoChunks(joined, MAX_ENTRIES_PER_SCRIPT_CALL).map((chunk) => this.#left(slot, chunk))
    // where the dead letters' key is denied, the server refuses every script that names it
    const byKey = [others.filter((one) => !isDeadLetterSettlement(one)), others.filter(isDeadLetterSettlement)]
    const chunks = byKey.flatMap((some) => splitIntoChunks(inOrder(some), MAX_ENTRIES_PER_SCRIPT_CALL))
    const first = joins.length + lefts.length
    return {
      joined,
      /** How many were set aside behind others. */
      waiting: (answers: readonly ReplyOrConnectionError[]) =>
        chunks.reduce((sum, chunk, n) => sum + waitingOf(chunk, answers[first + n]), 0),
      calls: [...joins.map(({ call }) => call), ...lefts, ...chunks.map((chunk) => this.#settle(slot, chunk))],
      result(answers: readonly ReplyOrConnectionError[]): SettleResult {
        const tally = new Tally()
        for (const [n, { chunk }] of joins.entries()) countChunk(tally, chunk, answers[n])
        for (const [n, chunk] of chunks.entries()) countChunk(tally, chunk, answers[first + n])
        return tally.result(answers.find(isUnanswered))
      },
    }
  }

  #tellStored(joined: readonly Settlement[], { notAcked = [], failed = [], unanswered }: SettleResult): void {
    const notDone = new Set([
      ...notAcked,
      ...failed.map(({ settlement }) => settlement),
      ...(unanswered?.settlements ?? []),
    ])
    for (const one of joined) this.order.listener?.stored(one.id, !notDone.has(one))
  }

  /** The same; where the first of the calls finds no group, makes it again: one that lived before ends all leases, ours as well. */
  override async settleAnd(
    slot: Slot,
    settlements: readonly Settlement[],
    calls: readonly RedisCall[],
    riders?: readonly JoinedCommand[],
  ): Promise<SettledWithReplies & { readonly groupRecreated: boolean }> {
    const first = await this.settleWith(slot, settlements, calls, riders)
    const [reply] = first.replies
    if (!isReplyError(reply, 'NOGROUP')) {
      this.seen(reply)
      return { ...first, groupRecreated: false }
    }
    const ridden = first.answers && { answers: first.answers }
    const [created = null] = await this.sender.ask([this.#createInOrder()])
    if (created instanceof Error) return { ...withAnswers(first.settled, [created]), ...ridden, groupRecreated: false }
    this.lived.add(this.name)
    const again = withAnswers(first.settled, await this.sender.ask(calls))
    return { ...again, ...ridden, groupRecreated: created === CREATE_GROUP_SCRIPT_ANSWERS.recreated }
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
        ? ['ack', one.id, one.deliveryCount, 0]
        : settleScript(this.address, slot, [one]).args.slice(HEAD_ARGUMENTS),
    )
    return this.inOrder(
      { script: settleInOrderScript, keys, args: [...head, ...told, ...this.#laneArguments(chunk)] },
      settleInOrderScript,
    )
  }

  /** Of entries that other calls may have taken off: their lanes go on. */
  #left(slot: Slot, chunk: readonly Settlement[]): ScriptCall {
    const { keys, stream } = this.address
    const touched = [stream, this.lease(slot), keys.due, keys.waiting]
    const args = [
      ...this.fence(slot),
      '',
      ...chunk.flatMap(({ id, deliveryCount }) => ['left', id, deliveryCount, 0]),
      0,
    ]
    return this.inOrder({ script: settleInOrderScript, keys: touched, args }, settleInOrderScript)
  }

  /** Lanes of what stays undone, or may, as far as the server does not know them. */
  #laneArguments(chunk: readonly Settlement[]): CommandArgument[] {
    const known = chunk.flatMap((one): CommandArgument[] => {
      const entry = (one as { readonly delivery?: Entry }).delivery
      return entry && !one.isTaken && !isPlainAck(one.outcome) ? [one.id, this.ordering.laneOf(entry)] : []
    })
    return [...known, known.length / 2]
  }
}

function waitingOf(chunk: readonly Settlement[], reply: ReplyOrConnectionError | undefined): number {
  if (!Array.isArray(reply)) return 0
  const [, ...statuses] = reply
  return chunk.filter(({ outcome }, n) => statuses[n] === SETTLE_SCRIPT_ANSWERS.done && waitsInOrder(outcome)).length
}

/** What arguments of a settlement begin with: group, consumer, token, dead letters kept. */
const HEAD_ARGUMENTS = 4
