import { deadLetterHeadFields } from '../../core/dead-letter/dead-letter.ts'
import type { Field } from '../../core/entry.ts'
import { compareEntryIds } from '../../core/entry.ts'
import { PARKED_CONSUMER } from '../../core/keys.ts'
import type { DeadLetterFacts } from '../../core/outcome.ts'
import type { HeldEntry } from '../delivery.ts'
import type { Settlement, SettleResult, Slot } from '../group.ts'
import { splitDuplicates } from '../group.ts'
import { MAX_XADD_FIELD_PAIRS, SETTLE_SCRIPT_ANSWERS } from '../redis/scripts/settle.ts'
import { groupTogether } from '../redis/settling-effects.ts'
import { planReturnToPending, Tally } from '../tally.ts'
import type { JoinAnswer } from './memory-effects.ts'
import { settleTogether } from './memory-effects.ts'
import type { MemoryGroupBase } from './memory-group-base.ts'
import type { Joined } from './memory-joining.ts'
import { hasJoin, settleJoin } from './memory-joining.ts'
import type { MemoryConsumerGroup } from './memory-server.ts'

/** Settles at once, behind the fence, what the calls of `redis/settling.ts` do. */
export function settleInMemory(calls: MemoryGroupBase, slot: Slot, settlements: readonly Settlement[]): SettleResult {
  const tally = new Tally()
  const group = calls.find()
  if (group) settleEffects(calls, group, slot, settlements, tally)
  // in the order of ids where it counts
  const given = calls.fencesAcks ? settlements.toSorted((a, b) => compareEntryIds(a.id, b.id)) : settlements
  for (const settlement of splitDuplicates(given).flat()) {
    if (group && settlement.effects) continue
    const { id, outcome } = settlement
    const isAck = outcome.kind === 'ack' || outcome.kind === 'ignore'
    if (outcome.kind === 'ack' && !calls.fencesAcks) tally.acked(1, Number(acked(calls, group, settlement)))
    else if (outcome.kind === 'ignore' && !calls.fencesAcks) {
      acked(calls, group, settlement)
      tally.ignored(1)
    } else if (group && hasJoin(settlement)) tally.settled(settlement, settleJoin(calls, group, slot, settlement))
    else if (!calls.isLeased(slot)) tally.settled(settlement, SETTLE_SCRIPT_ANSWERS.leaseLost)
    else if (!group) tally.counts.unsettled++
    else if (!isOurs(group, slot, settlement)) tally.settled(settlement, SETTLE_SCRIPT_ANSWERS.superseded)
    else if (!isAck && !calls.stream.get(id)) {
      calls.drop(group, id)
      tally.settled(settlement, SETTLE_SCRIPT_ANSWERS.lost)
    } else {
      if (isAck) calls.drop(group, id)
      else if (outcome.kind === 'dead-letter')
        tally.counts.deadLettersTrimmed += bury(calls, group, slot, settlement, outcome.letter)
      else move(calls, group, settlement)
      tally.settled(settlement, SETTLE_SCRIPT_ANSWERS.done)
    }
  }
  return tally.result()
}

/** Those that are settled together all at once. */
function settleEffects(
  calls: MemoryGroupBase,
  group: MemoryConsumerGroup,
  slot: Slot,
  settlements: readonly Settlement[],
  tally: Tally,
): void {
  for (const unit of groupTogether(settlements.filter((settlement) => settlement.effects && hasJoin(settlement)))) {
    const answers = settleTogether(calls, group, slot, unit as readonly Joined[])
    for (const [n, settlement] of unit.entries()) {
      const answer = answers[n] as JoinAnswer
      if (typeof answer === 'object') tally.failed(settlement, answer.failed)
      else tally.settled(settlement, answer)
    }
  }
}

/** @returns Whether it was pending. */
function acked(calls: MemoryGroupBase, group: MemoryConsumerGroup | undefined, { id, isTaken }: Settlement): boolean {
  if (isTaken) calls.dueTimes.delete(id)
  return group?.pending.delete(id) ?? false
}

function move(calls: MemoryGroupBase, group: MemoryConsumerGroup, settlement: Settlement): void {
  const { id, deliveryCount, outcome, isTaken } = settlement
  const move = planReturnToPending(outcome, deliveryCount, isTaken)
  if (move.owner === PARKED_CONSUMER) calls.setAside(group, id, move)
  else group.hand(id, move, move.deliveryCount, calls.now)
  calls.putBack(settlement)
}

/** @returns How many older dead letters were trimmed away. */
function bury(
  calls: MemoryGroupBase,
  group: MemoryConsumerGroup,
  { consumerName }: Slot,
  { id, deliveryCount }: HeldEntry,
  letter: DeadLetterFacts,
): number {
  const { stream, group: name, keys, settings } = calls.address
  const fields = calls.stream.get(id)?.fields ?? []
  const head = deadLetterHeadFields({ stream, group: name, consumerName, entryId: id, deliveryCount }, letter)
  const pairs = Array.from({ length: head.length / 2 }, (_, n): Field => [head[2 * n] ?? '', head[2 * n + 1] ?? ''])
  const body = fields.length > MAX_XADD_FIELD_PAIRS ? [['packed', pack(fields)] as const] : fields
  const letters = calls.server.stream(keys.deadLetters)
  const all = [...pairs, ...calls.letterFields(id), ['fieldCount', String(fields.length)] as const, ...body]
  calls.buried(group, id, letters.add(all, calls.now))
  const trimmed = letters.trim({ kind: 'length', maxLength: settings.maxDeadLetters, exact: true }, calls.now)
  if (trimmed > 0) calls.state.lettersTrimmed = (calls.state.lettersTrimmed ?? 0) + trimmed
  return trimmed
}

/** Whether an entry is under our name with the count that we know of, or one more where its start was not answered. */
function isOurs(
  group: MemoryConsumerGroup,
  { consumerName }: Slot,
  { id, deliveryCount, outcome }: Settlement,
): boolean {
  if (group.isHeldBy(consumerName, { id, deliveryCount })) return true
  const mayHaveStarted = outcome.kind === 'release' && outcome.mayHaveStarted === true
  return mayHaveStarted && group.isHeldBy(consumerName, { id, deliveryCount: deliveryCount + 1 })
}

/** Names and values in turn, each as its length in bytes, a colon, and itself. */
function pack(fields: readonly Field[]): Buffer {
  return Buffer.concat(
    fields.flat().flatMap((bytes) => [Buffer.from(`${Buffer.byteLength(bytes)}:`), Buffer.from(bytes)]),
  )
}
