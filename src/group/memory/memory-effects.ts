import type { JoinedCommand } from '../../core/outcome.ts'
import { RedisReplyError } from '../../errors.ts'
import type { Settlement, Slot } from '../group.ts'
import { SETTLE_SCRIPT_ANSWERS } from '../redis/scripts/settle.ts'
import type { MemoryGroupBase } from './memory-group-base.ts'
import type { Joined } from './memory-joining.ts'
import { commandsOfPolicies, handledBy, refusalOfPolicies, refuse, settleJoin } from './memory-joining.ts'
import type { MemoryConsumerGroup } from './memory-server.ts'

/** What became of a settlement: a number of SETTLED, the server's refusal, or why its effects cannot take place. */
export type JoinAnswer = number | string | { readonly failed: string }

/** Settles at once what `scripts/effects.ts` does: all of them, or none of those that are ours. */
export function settleTogether(
  calls: MemoryGroupBase,
  group: MemoryConsumerGroup,
  slot: Slot,
  settlements: readonly Joined[],
): readonly JoinAnswer[] {
  const isFree = (settlement: Joined) => isOurs(calls, group, slot, settlement) && !isHandled(calls, settlement)
  const markers = settlements.flatMap(({ outcome }) => outcome.marker?.key ?? [])
  if (settlements.every(isFree) && new Set(markers).size === markers.length)
    return carryOutAll(calls, group, settlements)
  return settlements.map((settlement) =>
    isFree(settlement)
      ? { failed: 'ERR another event of the batch was settled elsewhere' }
      : settleJoin(calls, group, slot, settlement),
  )
}

function isOurs(calls: MemoryGroupBase, group: MemoryConsumerGroup, slot: Slot, settlement: Settlement): boolean {
  return calls.isLeased(slot) && group.isHeldBy(slot.consumerName, settlement)
}

function isHandled(calls: MemoryGroupBase, { outcome: { marker } }: Joined): boolean {
  return marker !== undefined && handledBy(calls, marker) !== undefined
}

function carryOutAll(
  calls: MemoryGroupBase,
  group: MemoryConsumerGroup,
  settlements: readonly Joined[],
): readonly JoinAnswer[] {
  const { values } = calls.server
  const refusal = settlements.map((one) => refusalOfPolicies(calls, one)).find((text) => text !== undefined)
  if (refusal !== undefined) return settlements.map((settlement) => refuse(calls, group, settlement, refusal))
  const commands = settlements.flatMap((settlement): readonly JoinedCommand[] => [
    ...commandsOfPolicies(settlement),
    ...(settlement.effects?.commands ?? []),
  ])
  const trial = values.trial()
  const failure = commands.map((command) => trial.run(command)).find((reply) => reply instanceof RedisReplyError)
  if (failure) return settlements.map(() => ({ failed: failure.message }))
  for (const command of commands) values.run(command)
  for (const { id } of settlements) calls.drop(group, id)
  return settlements.map(() => SETTLE_SCRIPT_ANSWERS.done)
}
