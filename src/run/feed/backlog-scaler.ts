import { slotConsumerNames } from '../../group/consumer-names.ts'
import type { Run } from '../run.ts'

/**
 * Sees to it that a backlog gets as many pollers as it is worth. Of those that run, only the one in the lowest slot calls others, and once
 * in its run: two that see the same backlog would both call for all of it. Nothing waits for the calls but the run's end.
 */
export class BacklogScaler {
  readonly #run: Run
  #looking: Promise<void> | undefined
  /** How many entries are read before the next look; infinitely many once it was enough. */
  #nextAt: number

  constructor(run: Run) {
    const { further, slot } = run.parts
    this.#run = run
    this.#nextAt = further && slot.consumerName === slotConsumerNames('poller', 1)[0] ? 0 : Infinity
  }

  /** Inspects the backlog after a full batch was read, and calls pollers; not before as many more were read as one poller is left to deal with. */
  look(): void {
    if (this.#looking || this.#run.report.numbers.read < this.#nextAt) return
    this.#looking = this.#look()
      .catch((error: Error) => {
        this.#nextAt = Infinity
        this.#run.settler.note(error)
      })
      .finally(() => {
        this.#looking = undefined
      })
  }

  /** Resolves once no look is under way. */
  async end(): Promise<void> {
    await this.#looking
  }

  async #look(): Promise<void> {
    const { report, time, parts } = this.#run
    const { further, group, consumer } = parts
    if (!further) return
    const { read } = report.numbers
    this.#nextAt = read + further.entriesPerPoller
    const measured = await group.measure()
    // where the server does not know, batch after full batch for that long is a backlog as well
    const waiting = measured?.backlog.lag ?? (read < further.entriesPerPoller ? 0 : further.entriesPerPoller + 1)
    const wanted =
      Math.min(consumer.settings.maxPollers, Math.ceil(waiting / further.entriesPerPoller)) - (measured?.pollers ?? 1)
    if (wanted <= 0 || !further.mayCall(time.spareMs())) return
    this.#nextAt = Infinity
    const calls = Array.from({ length: wanted }, () => further.call(time.spareMs()).then(() => report.scaledOut()))
    const failed = (await Promise.allSettled(calls)).find(({ status }) => status === 'rejected')
    if (failed) throw (failed as PromiseRejectedResult).reason
  }
}
