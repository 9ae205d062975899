import type { Outcome } from '../core/outcome.ts'
import type { HeldEntry } from '../group/delivery.ts'
import type { Settlement, SettlementEffects } from '../group/group.ts'

/** An entry under our name that this run settles: with an outcome it is its settlement. */
export interface EntryInHand extends HeldEntry {
  readonly outcome: Outcome | undefined
  readonly effects?: SettlementEffects | undefined
  /** Its handler did not end in time: its idle clock is not renewed any more. */
  readonly overran?: boolean
  readonly eventType?: string | undefined
  /** Of the names and values that we have of it. */
  readonly bytes?: number
}

export function hasOutcome(entry: EntryInHand): entry is EntryInHand & Settlement {
  return entry.outcome !== undefined
}
