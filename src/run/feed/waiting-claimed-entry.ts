import { MAX_DELIVERY_COUNT } from '../../core/delivery-count.ts'
import { AGING_CONSUMER, PARKED_CONSUMER } from '../../core/keys.ts'
import type { Outcome } from '../../core/outcome.ts'
import type { ClaimedEntry, PreviousOwner } from '../../group/delivery.ts'
import { ownerToReturnTo } from '../../group/delivery.ts'
import type { Slot } from '../../group/group.ts'
import type { EntryInHand } from '../entry-in-hand.ts'

/** A claimed entry that waits for its start, or has got its outcome without one. */
export class WaitingClaimedEntry implements ClaimedEntry, EntryInHand {
  readonly id: string
  readonly deliveryCount: number
  readonly from: PreviousOwner
  outcome: Outcome | undefined = undefined
  /** The index may have it. */
  readonly isTaken = true

  readonly #slot: Slot

  /** @param slot Whose it is now. */
  constructor({ id, deliveryCount, from }: ClaimedEntry, slot: Slot) {
    this.#slot = slot
    this.id = id
    this.deliveryCount = deliveryCount
    this.from = from
  }

  /** It had no turn. @param mayHaveStarted The request that was to start it was not answered. */
  giveBack(mayHaveStarted = false): void {
    const { deliveryCount } = this
    this.outcome = { kind: 'release', owner: ownerToReturnTo(this, this.#slot), deliveryCount, mayHaveStarted }
  }

  /** It has used up its deliveries. @param now Milliseconds since 1970. */
  setAside(now: number): void {
    const { owner, idleMs } = this.from
    // no process got that far by dying: somebody set the count, or released the entry in nobody's name
    const isSet = this.deliveryCount >= MAX_DELIVERY_COUNT || owner === ''
    const reason = owner === PARKED_CONSUMER || owner === AGING_CONSUMER || isSet ? 'max-deliveries' : 'crashed'
    this.outcome = { kind: 'dead-letter', letter: { reason, lastDeliveredAt: now - idleMs, failedAt: now } }
  }
}
