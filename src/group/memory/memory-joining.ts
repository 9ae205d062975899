import type { Marker } from '../../core/markers.ts'
import { HOLD_WAIT_MS, MARKER_STATES } from '../../core/markers.ts'
import type { JoinedCommand, Outcome } from '../../core/outcome.ts'
import type { Settlement, Slot } from '../group.ts'
import { REFUSED_DEAD_LETTER_RETRY_MS, SETTLE_SCRIPT_ANSWERS } from '../redis/scripts/settle.ts'
import type { MemoryGroupBase } from './memory-group-base.ts'
import type { MemoryConsumerGroup } from './memory-server.ts'

/** A settlement with what joins it. */
export interface Joined extends Settlement {
  readonly outcome: Extract<Outcome, { readonly kind: 'ack-with' | 'duplicate' }>
}

export function hasJoin(settlement: Settlement): settlement is Joined {
  const { kind } = settlement.outcome
  return kind === 'ack-with' || kind === 'duplicate'
}

/** Settles at once what `scripts/join.ts` does. @returns A number of SETTLED, or the refusal's text. */
export function settleJoin(
  calls: MemoryGroupBase,
  group: MemoryConsumerGroup,
  slot: Slot,
  settlement: Joined,
): number | string {
  const { id, deliveryCount, outcome } = settlement
  const by = outcome.marker && handledBy(calls, outcome.marker)
  const acknowledge = (status: number) => {
    calls.drop(group, id)
    return status
  }
  const { done, duplicate, lost, postponed, leaseLost, superseded } = SETTLE_SCRIPT_ANSWERS
  if (outcome.kind === 'duplicate' && by !== undefined) return acknowledge(duplicate)
  const isLeased = calls.isLeased(slot)
  const isOurs = isLeased && group.isHeldBy(slot.consumerName, settlement)
  if (by === id && !isOurs) return done
  if (!isLeased) return leaseLost
  if (!isOurs) return superseded
  if (outcome.kind === 'duplicate') {
    if (!calls.stream.get(id)) return acknowledge(lost)
    calls.setAside(group, id, { deliveryCount: deliveryCount - 1, delayMs: HOLD_WAIT_MS.running, condition: undefined })
    return postponed
  }
  if (by !== undefined) return acknowledge(by === id ? done : duplicate)
  const refusal = refusalOfPolicies(calls, settlement)
  if (refusal !== undefined) return refuse(calls, group, settlement, refusal)
  for (const command of commandsOfPolicies(settlement)) calls.server.values.run(command)
  return acknowledge(done)
}

/** What policies join, the marker first. */
export function commandsOfPolicies({ id, outcome }: Joined): readonly JoinedCommand[] {
  const commands = outcome.kind === 'ack-with' ? outcome.commands : []
  const { marker } = outcome
  return marker ? [['SET', marker.key, MARKER_STATES.handled + id, 'PX', marker.ttlMs], ...commands] : commands
}

/** Why what policies join could not be carried out, by the types of its keys. */
export function refusalOfPolicies({ server: { values } }: MemoryGroupBase, settlement: Joined): string | undefined {
  return commandsOfPolicies(settlement)
    .map((command) => values.refusalOf(command))
    .find((text) => text !== undefined)
}

/** Sets aside what the server refuses. @returns The refusal. */
export function refuse(
  calls: MemoryGroupBase,
  group: MemoryConsumerGroup,
  { id, deliveryCount }: Settlement,
  refusal: string,
): string {
  calls.setAside(group, id, { deliveryCount, delayMs: REFUSED_DEAD_LETTER_RETRY_MS, condition: undefined })
  return refusal
}

/** The entry that a marker says was handled. */
export function handledBy({ server }: MemoryGroupBase, { key }: Marker): string | undefined {
  const text = server.values.run(['GET', key])
  return typeof text === 'string' && text.startsWith(MARKER_STATES.handled) ? text.slice(1) : undefined
}
