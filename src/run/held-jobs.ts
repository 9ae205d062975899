import { hasOutcome } from './entry-in-hand.ts'
import type { Job } from './job.ts'
import type { Run } from './run.ts'

/** Jobs that policies hold back though there is room, the oldest first; and jobs of calls that failed, whose outcome a policy has yet to say. */
export class HeldJobs {
  #held: Job[] = []
  #undecided: readonly Job[] = []

  get all(): readonly Job[] {
    return this.#held
  }

  /** Milliseconds until one of them can no longer start. */
  get startableMs(): number {
    let ms = Infinity
    for (const { run, neededMs } of this.#held) ms = Math.min(ms, run.time.startableMs(neededMs))
    return ms
  }

  hold(job: Job): void {
    this.#held.push(job)
  }

  letGo(job: Job): void {
    this.#held = this.#held.filter((other) => other !== job)
  }

  /** @returns Those that have their outcome; the others wait for what a policy says. */
  decidedOf(jobs: readonly Job[]): readonly Job[] {
    if (jobs.every(hasOutcome)) return jobs
    this.#undecided = [...this.#undecided, ...jobs.filter((job) => !hasOutcome(job))]
    return jobs.filter(hasOutcome)
  }

  /** A job whose call failed, and about which a policy decides now; it waits no longer. */
  takeUndecided(run: Run, id: string): Job | undefined {
    const failed = this.#undecided.find((one) => one.run === run && one.id === id)
    if (failed) this.#undecided = this.#undecided.filter((other) => other !== failed)
    return failed
  }
}
