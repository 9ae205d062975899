import { AGING_CONSUMER, PARKED_CONSUMER } from '../../core/keys.ts'
import type { ClaimedEntry } from '../../group/delivery.ts'
import type { DeliveryLimit } from './own-deliveries.ts'

/** Claimed entries by how they run. */
export interface CrashSuspects<Entry extends ClaimedEntry> {
  /** No delivery is left: they need no handler. */
  readonly usedUp: readonly Entry[]
  /** Side by side. */
  readonly trusted: readonly Entry[]
  /** Killed no process either, but at their last delivery: started when their handlers are, never ahead. */
  readonly last: readonly Entry[]
  /** In groups of what runs side by side. */
  readonly grouped: readonly Entry[]
  /** With nothing beside them, those with the fewest deaths first. */
  readonly alone: readonly Entry[]
}

/**
 * Which entries run side by side. What was found idle under any name but `aging` lost its process, and may be what killed it: its second
 * delivery runs in a small group, a later one or the last alone. Suspects come after the others, so that they take none with them.
 *
 * Where a process dies during last deliveries, nothing is left for those that ran beside the one that killed it.
 *
 * @param limitOf How many deliveries an entry gets.
 */
export function findCrashSuspects<Entry extends ClaimedEntry>(
  entries: readonly Entry[],
  limitOf: DeliveryLimit,
): CrashSuspects<Entry> {
  const isLast = (entry: Entry) => entry.deliveryCount + 1 >= limitOf(entry)
  const mustBeAlone = (entry: Entry) => runsAlone(entry.deliveryCount + 1, limitOf(entry))
  const isUsedUp = (entry: Entry) => entry.deliveryCount >= limitOf(entry)
  const waiting = entries.filter((entry) => !isUsedUp(entry))
  const above = waiting.filter(isAboveSuspicion)
  const suspects = waiting.filter((entry) => !isAboveSuspicion(entry))
  return {
    usedUp: entries.filter(isUsedUp),
    trusted: above.filter((entry) => !isLast(entry)),
    last: above.filter(isLast),
    grouped: suspects.filter((entry) => !mustBeAlone(entry)),
    alone: suspects.filter(mustBeAlone).sort((a, b) => a.deliveryCount - b.deliveryCount),
  }
}

/** Whether that delivery of a suspect runs with nothing beside it: at least two processes died of it, or it is the last. */
export function runsAlone(deliveryCount: number, maxDeliveries: number): boolean {
  return deliveryCount > 2 || deliveryCount >= maxDeliveries
}

/** What is set aside failed and said so, and what has no delivery never ran. */
function isAboveSuspicion({ from, deliveryCount }: ClaimedEntry): boolean {
  return from.owner === PARKED_CONSUMER || from.owner === AGING_CONSUMER || deliveryCount === 0
}
