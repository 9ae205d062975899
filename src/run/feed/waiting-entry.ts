import { MAX_DELIVERY_COUNT } from '../../core/delivery-count.ts'
import { AGING, PARKED } from '../../core/keys.ts'
import type { Outcome } from '../../core/outcome.ts'
import type { Claimed, Owner, Slot } from '../../group/group.ts'
import { returnOf } from '../../group/group.ts'
import type { InHand } from '../in-hand.ts'

/** A claimed entry that waits for its start, or has got its outcome without one. */
export class WaitingEntry implements Claimed, InHand {
  readonly id: string
  readonly deliveryCount: number
  readonly from: Owner
  outcome: Outcome | undefined = undefined
  /** The index may have it. */
  readonly isTaken = true

  readonly #slot: Slot

  /** @param slot Whose it is now. */
  constructor({ id, deliveryCount, from }: Claimed, slot: Slot) {
    this.#slot = slot
    this.id = id
    this.deliveryCount = deliveryCount
    this.from = from
  }

  /** It had no turn. @param mayHaveStarted The request that was to start it was not answered. */
  giveBack(mayHaveStarted = false): void {
    const { deliveryCount } = this
    this.outcome = { kind: 'release', owner: returnOf(this, this.#slot), deliveryCount, mayHaveStarted }
  }

  /** It has used up its deliveries. @param now Milliseconds since 1970. */
  setAside(now: number): void {
    const { owner, idleMs } = this.from
    // no process got that far by dying: somebody set the count, or released the entry in nobody's name
    const isSet = this.deliveryCount >= MAX_DELIVERY_COUNT || owner === ''
    const reason = owner === PARKED || owner === AGING || isSet ? 'max-deliveries' : 'crashed'
    this.outcome = { kind: 'dead-letter', letter: { reason, lastDeliveredAt: now - idleMs, failedAt: now } }
  }
}
