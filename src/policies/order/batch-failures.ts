import { compareEntryIds } from '../../core/entry.ts'
import type { PolicyJob } from '../../define/policy.ts'

/** What a failed event of a call sets aside: what comes after it of its key, or of the whole call. */
export type AfterBatchItemFailure = 'key' | 'checkpoint'

/** A call of a batch handler, and the first of its events that failed, by key. */
type Failed = Map<string, string>

/** Under which the first of a whole call stands. */
const WHOLE_CALL = ''

/**
 * What failed in calls of batch handlers. An event that comes after one that failed was handed over with it, so whatever became of it happened too early, or not at all: it is undone, and neither
 * acknowledged nor charged with a delivery.
 */
export class BatchFailures {
  readonly #calls = new WeakMap<PolicyJob, Failed>()
  readonly #scope: AfterBatchItemFailure

  constructor(scope: AfterBatchItemFailure) {
    this.#scope = scope
  }

  /** They are called together. */
  called(jobs: readonly PolicyJob[]): void {
    const failed: Failed = new Map()
    for (const job of jobs) this.#calls.set(job, failed)
  }

  /** A job has failed. @param lane Of its key; `undefined`: none. @returns Whether it comes after another that has. */
  failed(job: PolicyJob, lane: string | undefined): boolean {
    const call = this.#calls.get(job)
    const scope = this.#scopeOf(lane)
    if (!call || scope === undefined) return false
    const first = call.get(scope)
    if (first !== undefined && compareEntryIds(first, job.entryId) < 0) return true
    call.set(scope, job.entryId)
    return false
  }

  /** Whether a job comes after one that has failed. */
  follows(job: PolicyJob, lane: string | undefined): boolean {
    const scope = this.#scopeOf(lane)
    const first = scope === undefined ? undefined : this.#calls.get(job)?.get(scope)
    return first !== undefined && compareEntryIds(first, job.entryId) < 0
  }

  #scopeOf(lane: string | undefined): string | undefined {
    return this.#scope === 'checkpoint' ? WHOLE_CALL : lane
  }
}
