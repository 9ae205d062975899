import type { PolicyJob } from '../../define/policy.ts'

/** What a failed event of a call sets aside: what comes after it of its key, or of the whole call. */
export type AfterBatchItemFailure = 'key' | 'checkpoint'

/** An event in a call of a batch handler, whose first ones that failed are kept by key: at which place they stand. */
interface CalledJob {
  readonly at: number
  readonly failed: Map<string, number>
}

/** Under which the first of a whole call stands. */
const WHOLE_CALL = ''

/**
 * What failed in calls of batch handlers. An event that comes after one that failed was handed over with it, so whatever became of it happened too early, or not at all: it is undone, and neither
 * acknowledged nor charged with a delivery.
 */
export class BatchFailures {
  readonly #calls = new WeakMap<PolicyJob, CalledJob>()
  readonly #scope: AfterBatchItemFailure

  constructor(scope: AfterBatchItemFailure) {
    this.#scope = scope
  }

  /** They are called together. */
  called(jobs: readonly PolicyJob[]): void {
    const failed = new Map<string, number>()
    for (const [at, job] of jobs.entries()) this.#calls.set(job, { at, failed })
  }

  /** A job has failed. @param lane Of its key; `undefined`: none. @returns Whether it comes after another that has. */
  failed(job: PolicyJob, lane: string | undefined): boolean {
    const call = this.#calls.get(job)
    const scope = this.#scopeOf(lane)
    if (!call || scope === undefined) return false
    if (this.follows(job, lane)) return true
    call.failed.set(scope, call.at)
    return false
  }

  /** Whether a job comes after one that has failed. */
  follows(job: PolicyJob, lane: string | undefined): boolean {
    const scope = this.#scopeOf(lane)
    const call = this.#calls.get(job)
    if (!call || scope === undefined) return false
    return (call.failed.get(scope) ?? call.at) < call.at
  }

  #scopeOf(lane: string | undefined): string | undefined {
    return this.#scope === 'checkpoint' ? WHOLE_CALL : lane
  }
}
