import type { Outcome } from '../core/outcome.ts'
import type { Delivery, Settlement } from '../group/group.ts'
import { Handlers } from './handlers.ts'
import type { Run } from './run.ts'

/**
 * Runs the handlers of a batch, at most `concurrency` side by side, as long as there is time to settle them. What could not start any more
 * is released. What overran its time is settled at once, lest it wait for the others, no longer renewed.
 *
 * @returns An outcome for every entry that is not settled yet, in the batch's order.
 */
export function runBatch(deliveries: readonly Delivery[], run: Run): Promise<Settlement[]> {
  const { clock, consumer } = run.parts
  const { concurrency } = consumer.settings
  const handlers = new Handlers(run)
  const outcomes: (Outcome | undefined)[] = []
  const deliveredAt = clock.now()
  const settled = new Set<number>()
  const settling: Promise<void>[] = []
  let overran: number[] = []
  let next = 0
  let isPumping = false
  let isOver = false
  const settlementOf = (at: number) => {
    const delivery = deliveries[at] as Delivery
    return settlement(delivery, outcomes[at] ?? released(delivery))
  }
  return new Promise((resolve) => {
    const pump = () => {
      if (isPumping) return
      isPumping = true
      while (next < deliveries.length && handlers.running < concurrency && run.mayStart()) start(next++)
      isPumping = false
      if (handlers.running > 0) return
      isOver = true
      const rest = [...deliveries.keys()].filter((at) => !settled.has(at)).map(settlementOf)
      resolve(settling.length > 0 ? Promise.all(settling).then(() => rest) : rest)
    }
    const start = (at: number) => {
      const delivery = deliveries[at] as Delivery
      handlers.start(delivery, deliveredAt, (outcome) => {
        outcomes[at] = outcome
        if (run.hasOverrun(delivery) && overran.push(at) === 1) queueMicrotask(settleOverran)
        pump()
      })
    }
    const settleOverran = () => {
      if (!isOver) {
        for (const at of overran) settled.add(at)
        settling.push(run.settleMeanwhile(overran.map(settlementOf)))
      }
      overran = []
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
