import type { Outcome } from '../core/outcome.ts'
import type { Delivery, Settlement } from '../group/group.ts'

export function settlement({ id, deliveryCount }: Delivery, outcome: Outcome): Settlement {
  return { id, deliveryCount, outcome }
}

/** An entry that was to run and did not: it goes back whence it came, with one delivery less. */
export function released({ deliveryCount, returnTo }: Delivery): Outcome {
  return { kind: 'release', ...returnTo, deliveryCount: deliveryCount - 1 }
}
