import { splitIntoChunks } from '../../core/chunks.ts'
import { deadLetterHeadFields } from '../../core/dead-letter/dead-letter.ts'
import { compareEntryIds } from '../../core/entry.ts'
import { PARKED_CONSUMER } from '../../core/keys.ts'
import { OUTCOME_KINDS } from '../../core/outcome.ts'
import { RedisReplyError } from '../../errors.ts'
import type { GroupAddress, JoinCall, Settlement, SettleResult, SettleWithCommands, Slot } from '../group.ts'
import { isDeadLetterSettlement, splitDuplicates } from '../group.ts'
import { planReturnToPending, Tally } from '../tally.ts'
import { replyAsText, replyItems } from './commands/reply.ts'
import { MAX_XACK_IDS, xack } from './commands/xack.ts'
import { zrem } from './commands/zrem.ts'
import { MAX_ENTRIES_PER_SCRIPT_CALL } from './scripts/script.ts'
import { settleEntriesScript } from './scripts/settle.ts'
import type { RedisCall, ScriptCall } from './sender.ts'
import { isUnanswered } from './sender.ts'
import type { CommandArgument, ReplyOrConnectionError } from './transport.ts'

/** What settles a batch: XACKs for the successes, one script a hundred of the rest; and how to read the answers. */
export interface SettleCalls {
  readonly calls: readonly RedisCall[]
  /** Too much for one request. */
  readonly isLarge: boolean
  /** @param answers One per call, in order; more may follow. */
  result(answers: readonly ReplyOrConnectionError[]): SettleResult
}

export function settleCalls(address: GroupAddress, slot: Slot, settlements: readonly Settlement[]): SettleCalls {
  const byOp: Record<Op, Settlement[]> = { ack: [], ignore: [], join: [], aside: [], dead: [] }
  for (const settlement of settlements) byOp[OUTCOME_KINDS[settlement.outcome.kind].op].push(settlement)
  // where the dead letters' key is denied, the server refuses every script that names it
  const chunks = [byOp.aside, byOp.dead].flatMap((some) => splitIntoChunks(inOrder(some), MAX_ENTRIES_PER_SCRIPT_CALL))
  const acks = splitIntoChunks(byOp.ack, MAX_XACK_IDS)
  const ignores = splitIntoChunks(byOp.ignore, MAX_XACK_IDS)
  const xacks = [...acks, ...ignores].map((chunk) => xack(address.stream, address.group, chunk.map(idOf)))
  const scripts = chunks.map((chunk) => settleScript(address, slot, chunk))
  const joins = joinsOf(address, slot, byOp.join)
  const taken = [...byOp.ack, ...byOp.ignore].filter(({ isTaken }) => isTaken)
  const zrems = splitIntoChunks(taken, MAX_XACK_IDS).map((chunk) => zrem(address.keys.due, chunk.map(idOf)))
  return {
    calls: [...xacks, ...joins.map(({ call }) => call), ...scripts, ...zrems],
    isLarge: joins.length > 1 && joins.reduce((sum, { bytes }) => sum + bytes, 0) > LARGEST_BYTES,
    result(answers) {
      const tally = new Tally()
      let at = 0
      for (const chunk of acks) countAcks(tally, chunk, answers[at++], (pending) => tally.acked(chunk.length, pending))
      for (const chunk of ignores) countAcks(tally, chunk, answers[at++], () => tally.ignored(chunk.length))
      for (const { chunk } of joins) countChunk(tally, chunk, answers[at++])
      for (const chunk of chunks) countChunk(tally, chunk, answers[at++])
      return tally.result(answers.find(isUnanswered))
    },
  }
}

/** Such an outcome comes of policies or effects alone, and so does what settles it. */
export function joinsOf(address: GroupAddress, slot: Slot, settlements: readonly Settlement[]): readonly JoinCall[] {
  return splitDuplicates(settlements).flatMap((part) => {
    const byCalls = Map.groupBy(part, ({ effects }) => effects?.joinCalls ?? address.joinCalls)
    return [...byCalls].flatMap(([calls, some]) => (calls as SettleWithCommands)(address, slot, some))
  })
}

/** Bytes of what joins, above which each call is a request of its own: a service may take no more. */
const LARGEST_BYTES = 1_048_576

type Op = (typeof OUTCOME_KINDS)[keyof typeof OUTCOME_KINDS]['op']

const idOf = ({ id }: Settlement) => id

export function inOrder(settlements: readonly Settlement[]): Settlement[] {
  return settlements.toSorted((a, b) => compareEntryIds(a.id, b.id))
}

export function settleScript(
  { stream, group, keys, settings }: GroupAddress,
  slot: Slot,
  chunk: readonly Settlement[],
): ScriptCall {
  const origin = { stream, group, consumerName: slot.consumerName }
  const buries = chunk.some(isDeadLetterSettlement)
  const keep = buries && Number.isFinite(settings.maxDeadLetters) ? settings.maxDeadLetters : ''
  const args: CommandArgument[] = [group, slot.consumerName, slot.token, keep]
  for (const { id, deliveryCount, outcome, isTaken } of chunk) {
    if (outcome.kind === 'dead-letter') {
      const head = deadLetterHeadFields({ ...origin, entryId: id, deliveryCount }, outcome.letter)
      args.push('dead', id, deliveryCount, head.length, ...head)
    } else {
      const move = planReturnToPending(outcome, deliveryCount, isTaken)
      const mayHaveStarted = Number(outcome.kind === 'release' && outcome.mayHaveStarted === true)
      const fence = [id, deliveryCount, mayHaveStarted, move.deliveryCount]
      if (move.owner === PARKED_CONSUMER) args.push('aside', ...fence, wholeMs(move.delayMs), move.condition ?? '')
      else args.push('back', ...fence, move.owner)
    }
  }
  const touched = [stream, keys.slot(slot.consumerName), keys.due, keys.waiting]
  return { script: settleEntriesScript, keys: buries ? [...touched, keys.deadLetters, keys.state] : touched, args }
}

function wholeMs(delayMs: number): number | '' {
  return delayMs === -Infinity ? '' : Math.ceil(delayMs)
}

function countAcks(
  tally: Tally,
  acks: readonly Settlement[],
  reply: ReplyOrConnectionError | undefined,
  count: (pending: number) => void,
): void {
  if (isUnanswered(reply)) tally.unanswered(acks)
  else if (reply instanceof RedisReplyError) tally.refused(acks.length, reply)
  else count(Number(reply))
}

export function countChunk(
  tally: Tally,
  chunk: readonly Settlement[],
  reply: ReplyOrConnectionError | undefined,
): void {
  if (isUnanswered(reply)) {
    tally.unanswered(chunk)
    return
  }
  if (reply instanceof RedisReplyError) {
    tally.refused(chunk.length, reply, chunk.filter(isDeadLetterSettlement))
    return
  }
  const [trimmed, ...statuses] = replyItems(reply)
  tally.counts.deadLettersTrimmed += Number(trimmed)
  for (const [n, settlement] of chunk.entries()) {
    const status = statuses[n]
    if (Array.isArray(status)) tally.failed(settlement, replyAsText(status[0]))
    else tally.settled(settlement, typeof status === 'number' ? status : replyAsText(status))
  }
}
