import type { Outcome } from '../core/outcome.ts'
import { OUTCOME_KINDS } from '../core/outcome.ts'
import type { CheckedPolicyDecision } from '../run/checked-policy-decision.ts'
import { hasOutcome } from '../run/entry-in-hand.ts'
import type { Job } from '../run/job.ts'
import type { PoliciesOfRun } from '../run/policy-engine.ts'
import type { PoolOfPolicies } from '../run/pool-policies.ts'
import type { Run } from '../run/run.ts'

/** Jobs that policies hold back, and those whose outcome they have yet to say. */
interface JobsHeld {
  readonly all: readonly Job[]
  letGo(...jobs: readonly Job[]): void
  takeUndecided(run: Run, id: string): Job | undefined
}

/** What policies decide about the jobs of a pool that wait for their calls, or whose calls failed. */
export class PolicyDecisions {
  readonly #held: JobsHeld
  readonly #pool: PoolOfPolicies

  constructor(held: JobsHeld, pool: PoolOfPolicies) {
    this.#held = held
    this.#pool = pool
  }

  /** Policies hear of the ends of jobs of one run, and may decide about those that they hold back. */
  over(jobs: readonly Job[]): void {
    const { run } = jobs[0] as Job
    const { policies } = run
    if (!policies?.follows) return
    const over = [...jobs]
    // those decided about end as well, one after the other: a thousand may hang on each other
    for (let n = 0; n < over.length; n++) {
      const job = over[n] as Job
      const isDone = job.outcome !== undefined && OUTCOME_KINDS[job.outcome.kind].counter === 'acked'
      const decisions = policies.ended(job, isDone)
      if (decisions.size > 0) for (const decided of this.#decideAll(run, policies, decisions)) over.push(decided)
    }
  }

  #decideAll(run: Run, policies: PoliciesOfRun, decisions: ReadonlyMap<string, CheckedPolicyDecision>): readonly Job[] {
    const now = run.time.clock.now()
    const waiting = [...this.#held.all, ...this.#pool.queued()]
    const decided = waiting.filter((job) => job.run === run && decisions.has(job.id) && !hasOutcome(job))
    for (const job of decided)
      this.#end(job, policies.outcomeOf(decisions.get(job.id) as CheckedPolicyDecision, job, now))
    this.#held.letGo(...decided)
    return decided
  }

  #end(job: Job, outcome: Outcome): void {
    job.outcome = outcome
    this.#pool.close()
  }

  /** A policy says what becomes of a job that waits for its call, or whose call failed. @returns Whether there was one. */
  decide(run: Run, id: string, decision: CheckedPolicyDecision | undefined): boolean {
    const outcomeOf = (job: Job) =>
      decision ? (run.policies as PoliciesOfRun).outcomeOf(decision, job, run.time.clock.now()) : job.verdict
    const failed = this.#held.takeUndecided(run, id)
    if (failed) {
      failed.outcome = outcomeOf(failed)
      failed.failedCall?.decided()
      this.#pool.close()
    }
    const decided = failed ?? (decision && this.#decideWaiting(run, id, (job) => outcomeOf(job) as Outcome))
    if (decided) this.over([decided])
    return decided !== undefined
  }

  /** @returns The job that was decided about, if it still waited. */
  #decideWaiting(run: Run, id: string, outcomeOf: (job: Job) => Outcome): Job | undefined {
    const isIt = (one: Job) => one.run === run && one.id === id && !hasOutcome(one)
    const job = this.#held.all.find(isIt) ?? this.#pool.queued().find(isIt)
    if (!job) return undefined
    this.#held.letGo(job)
    this.#end(job, outcomeOf(job))
    return job
  }
}
