import type { AnsweredEntry } from '../core/entry.ts'
import { AGING_CONSUMER, PARKED_CONSUMER } from '../core/keys.ts'

/** An entry under our consumer name. */
export interface HeldEntry {
  readonly id: string
  readonly deliveryCount: number
}

/** An entry whose handler may run: its delivery counts. */
export interface Delivery extends AnsweredEntry {
  /** This delivery's number, from 1. */
  readonly deliveryCount: number
  /** To whom the entry goes back if its handler never starts: `parked` sets it aside, due at once. */
  readonly returnTo: string
  /** The index may have it, until its outcome is stored. */
  readonly isTaken?: boolean | undefined
  /** Where order is kept: its whole lane was taken, which has ended by that. */
  readonly isOfLane?: boolean | undefined
}

export interface PreviousOwner {
  readonly owner: string
  readonly idleMs: number
}

/** An entry that the claimer took over and has not started. */
export interface ClaimedEntry extends HeldEntry {
  /** Who had it, and for how long it had been idle. */
  readonly from: PreviousOwner
}

/**
 * To whom a claimed entry goes back that is not run: what was set aside, to its index. A suspect stays under the name of who claimed it, idle for no time, and is claimed again by its age:
 * under its former owner's name it would pass for what that has read since.
 */
export function ownerToReturnTo({ from }: ClaimedEntry, { consumerName }: { readonly consumerName: string }): string {
  return from.owner === PARKED_CONSUMER || from.owner === AGING_CONSUMER ? PARKED_CONSUMER : consumerName
}
