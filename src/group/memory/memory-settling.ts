import { deadLetterHead } from '../../core/dead-letter/dead-letter.ts'
import type { Field } from '../../core/entry.ts'
import { PARKED } from '../../core/keys.ts'
import type { DeadLetterFacts, JoinedCommand } from '../../core/outcome.ts'
import type { HeldEntry, Settlement, SettleResult, Slot } from '../group.ts'
import { MAX_PAIRS, REFUSED_MS, SETTLED } from '../redis/scripts/settle.ts'
import { moveOf, Tally } from '../tally.ts'
import type { MemoryCalls } from './memory-calls.ts'
import type { GroupState } from './memory-server.ts'

/** Settles at once, behind the fence, what the calls of `redis/settling.ts` do. */
export function settle(calls: MemoryCalls, slot: Slot, settlements: readonly Settlement[]): SettleResult {
  const tally = new Tally()
  const group = calls.find()
  for (const settlement of settlements) {
    const { id, outcome } = settlement
    if (outcome.kind === 'ack') tally.acked(1, Number(acked(calls, group, settlement)))
    else if (outcome.kind === 'ignore') {
      acked(calls, group, settlement)
      tally.ignored(1)
    } else if (!calls.isLeased(slot)) tally.settled(settlement, SETTLED.leaseLost)
    else if (!group) tally.counts.unsettled++
    else if (!isOurs(group, slot, settlement)) tally.settled(settlement, SETTLED.superseded)
    else if (outcome.kind === 'ack-with') tally.settled(settlement, join(calls, group, settlement, outcome.commands))
    else if (!calls.stream.get(id)) {
      calls.drop(group, id)
      tally.settled(settlement, SETTLED.lost)
    } else {
      if (outcome.kind === 'dead-letter')
        tally.counts.deadLettersTrimmed += bury(calls, group, slot, settlement, outcome.letter)
      else move(calls, group, settlement)
      tally.settled(settlement, SETTLED.done)
    }
  }
  return tally.result()
}

/** @returns Whether it was pending. */
function acked(calls: MemoryCalls, group: GroupState | undefined, { id, isTaken }: Settlement): boolean {
  if (isTaken) calls.dueTimes.delete(id)
  return group?.pending.delete(id) ?? false
}

function move(calls: MemoryCalls, group: GroupState, { id, deliveryCount, outcome, isTaken }: Settlement): void {
  const move = moveOf(outcome, deliveryCount, isTaken)
  if (move.owner === PARKED) calls.setAside(group, id, move)
  else group.hand(id, move, move.deliveryCount, calls.now)
}

/** @returns A number of SETTLED, or the refusal's text. */
function join(
  calls: MemoryCalls,
  group: GroupState,
  { id, deliveryCount }: Settlement,
  commands: readonly JoinedCommand[],
): number | string {
  const refusal = commands.map((command) => calls.server.values.refusalOf(command)).find((text) => text !== undefined)
  if (refusal !== undefined) {
    calls.setAside(group, id, { deliveryCount, delayMs: REFUSED_MS, condition: undefined })
    return refusal
  }
  for (const command of commands) calls.server.values.run(command)
  calls.drop(group, id)
  return SETTLED.done
}

/** @returns How many older dead letters were trimmed away. */
function bury(
  calls: MemoryCalls,
  group: GroupState,
  { consumerName }: Slot,
  { id, deliveryCount }: HeldEntry,
  letter: DeadLetterFacts,
): number {
  const { stream, group: name, keys, settings } = calls.address
  const fields = calls.stream.get(id)?.fields ?? []
  const head = deadLetterHead({ stream, group: name, consumerName, entryId: id, deliveryCount }, letter)
  const pairs = Array.from({ length: head.length / 2 }, (_, n): Field => [head[2 * n] ?? '', head[2 * n + 1] ?? ''])
  const body = fields.length > MAX_PAIRS ? [['packed', pack(fields)] as const] : fields
  const letters = calls.server.stream(keys.deadLetters)
  letters.add([...pairs, ['fieldCount', String(fields.length)], ...body], calls.now)
  calls.drop(group, id)
  return letters.trim({ kind: 'length', maxLength: settings.maxDeadLetters, exact: true }, calls.now)
}

/** Whether an entry is under our name with the count that we know of, or one more where its start was not answered. */
function isOurs(group: GroupState, { consumerName }: Slot, { id, deliveryCount, outcome }: Settlement): boolean {
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
