import type { Outcome } from '../core/outcome.ts'
import type { Delivery, Settlement } from '../group/group.ts'
import { Handlers } from './handlers.ts'
import type { Run } from './run.ts'

/**
 * Runs the handlers of a batch, at most `concurrency` side by side, as long as there is time to settle them. What could not start any more
 * is released.
 *
 * @returns An outcome for every entry, in the batch's order.
 */
export function runBatch(deliveries: readonly Delivery[], run: Run): Promise<Settlement[]> {
  const { clock, consumer } = run.parts
  const { concurrency } = consumer.settings
  const handlers = new Handlers(run)
  const outcomes: (Outcome | undefined)[] = []
  const deliveredAt = clock.now()
  let next = 0
  let isPumping = false
  return new Promise((resolve) => {
    const pump = () => {
      if (isPumping) return
      isPumping = true
      while (next < deliveries.length && handlers.running < concurrency && run.mayStart()) {
        const at = next++
        handlers.start(deliveries[at] as Delivery, deliveredAt, (outcome) => {
          outcomes[at] = outcome
          pump()
        })
      }
      isPumping = false
      if (handlers.running > 0) return
      resolve(deliveries.map((delivery, at) => settlement(delivery, outcomes[at] ?? released(delivery))))
    }
    pump()
  })
}

export function settlement({ id, deliveryCount }: Delivery, outcome: Outcome): Settlement {
  return { id, deliveryCount, outcome }
}

/** An entry that was to run and did not: it goes back whence it came, with one delivery less. */
export function released({ deliveryCount, returnTo }: Delivery): Outcome {
  return { kind: 'release', ...returnTo, deliveryCount: deliveryCount - 1 }
}
