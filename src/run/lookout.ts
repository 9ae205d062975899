import { slotNames } from '../group/consumer-names.ts'
import type { Run } from './run.ts'

/**
 * Sees to it that a backlog gets as many pollers as it is worth. Of those that run, the one in the lowest slot alone calls others, and once
 * in its run: two that see the same backlog would both call for all of it.
 */
export class Lookout {
  readonly #run: Run
  #isOver: boolean
  /** The server does not know how many entries wait. */
  #isBlind = false

  constructor(run: Run) {
    const { further, slot } = run.parts
    this.#run = run
    this.#isOver = !further?.mayCall || slot.consumerName !== slotNames('poller', 1)[0]
  }

  /** Looks at the backlog after a full batch was read, and calls pollers. */
  async look(): Promise<void> {
    const { further, group, report, consumer } = this.#run.parts
    if (!further || this.#isOver || (this.#isBlind && report.read < further.backlog)) return
    const measured = await group.measure()
    // batch after full batch, for as many entries as one poller is left to deal with, is a backlog as well
    const waiting = measured?.backlog.lag ?? (report.read < further.backlog ? undefined : report.read + 1)
    this.#isBlind = waiting === undefined
    if (!measured || waiting === undefined) return
    this.#isOver = true
    const pollers = Math.min(consumer.settings.slots, Math.ceil(waiting / further.backlog))
    for (let n = measured.pollers; n < pollers; n++) {
      await further.call(this.#run.remainingMs())
      report.scaledOut++
    }
  }
}
