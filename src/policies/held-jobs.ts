import { hasOutcome } from '../run/entry-in-hand.ts'
import type { Job } from '../run/job.ts'
import type { JobsOfPolicies, PoolOfPolicies } from '../run/pool-policies.ts'
import type { Run } from '../run/run.ts'
import { PolicyDecisions } from './policy-decisions.ts'

/** Jobs that policies hold back though there is room, the oldest first; and jobs of calls that failed, whose outcome a policy has yet to say. */
export class HeldJobs implements JobsOfPolicies {
  readonly #pool: PoolOfPolicies
  readonly #decisions: PolicyDecisions
  #held: Job[] = []
  #undecided: readonly Job[] = []
  /** Whose policies inspect the pool, last. */
  #served: Run | undefined

  constructor(pool: PoolOfPolicies) {
    this.#pool = pool
    this.#decisions = new PolicyDecisions(this, pool)
  }

  get all(): readonly Job[] {
    return this.#held
  }

  get count(): number {
    return this.#held.length
  }

  get hasReady(): boolean {
    return this.#held.some((job) => !this.#isHeld(job))
  }

  get runs(): readonly Run[] {
    return this.#held.map(({ run }) => run)
  }

  serve(run: Run): void {
    const { policies } = run
    if (!policies || run === this.#served) return
    this.#served = run
    const pool = this.#pool
    // not at once: whoever calls it is one that is being asked
    policies.resume = () => queueMicrotask(() => pool.fill())
    policies.room = (route) => Math.max(0, pool.room(route))
    policies.decide = (id, decision) => {
      if (this.#decisions.decide(run, id, decision)) pool.fill()
    }
  }

  /** Milliseconds until one of them can no longer start. */
  get startableMs(): number {
    let ms = Infinity
    for (const { run, neededMs } of this.#held) ms = Math.min(ms, run.time.startableMs(neededMs))
    return ms
  }

  holds(job: Job): boolean {
    const isHeld = job.run.policies?.holds === true && this.#isHeld(job)
    if (isHeld) this.#held.push(job)
    return isHeld
  }

  take(now: number): Job | undefined {
    for (const job of this.#held) {
      if (hasOutcome(job)) continue // decided when one before it was released
      const mayStart = job.run.time.mayStart(now, job.neededMs)
      if (mayStart && this.#isHeld(job)) continue
      this.letGo(job)
      if (mayStart) return job
      this.#pool.release([job])
    }
    return undefined
  }

  /** Policies are asked only once its route has room: what waits for that holds nothing of theirs. */
  #isHeld(job: Job): boolean {
    const { policies } = job.run
    return policies !== undefined && (this.#pool.room(job.route) < 1 || policies.isHeld(job))
  }

  letGo(...jobs: readonly Job[]): void {
    const gone = new Set(jobs)
    this.#held = this.#held.filter((job) => !gone.has(job))
  }

  over(jobs: readonly Job[]): void {
    if (jobs.length > 0) this.#decisions.over(jobs)
  }

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
