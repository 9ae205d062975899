import type { DecidableJob } from '../../run/checked-policy-decision.ts'
import type { BatchCall } from './job-in-order.ts'
import { inOrder } from './job-in-order.ts'

/** What a failed event of a call sets aside: what comes after it of its key, or of the whole call. */
export type AfterBatchItemFailure = 'key' | 'checkpoint'

/** Under which the first of a whole call stands. */
const WHOLE_CALL = ''

/**
 * What stays undone in calls of batch handlers. An event that comes after such a one was handed over with it, so whatever became of it happened too early, or not at all: it is undone, too, and
 * neither acknowledged nor charged with a delivery.
 */
export class BatchFailures {
  readonly #scope: AfterBatchItemFailure

  constructor(scope: AfterBatchItemFailure) {
    this.#scope = scope
  }

  /** They are called together. */
  called(jobs: readonly DecidableJob[]): void {
    const call: BatchCall = { jobs, undone: new Map(), inspected: 0 }
    for (const [at, job] of jobs.entries()) inOrder(job)?.handedOver(call, at)
  }

  /** A job has failed. @returns Whether it comes after another that stays undone. */
  failed(job: DecidableJob): boolean {
    if (this.follows(job)) return true
    const { call, at } = inOrder(job) ?? {}
    if (call) this.#note(call, job, at)
    return false
  }

  /** Whether a job comes after one that stays undone. */
  follows(job: DecidableJob): boolean {
    const { call, at = 0 } = inOrder(job) ?? {}
    if (!call) return false
    // what takes no work is released, and nobody says so
    for (; call.inspected < at; call.inspected++) {
      const other = call.jobs[call.inspected]
      if (other?.outcome?.kind === 'release') this.#note(call, other, call.inspected)
    }
    const scope = this.#scopeOf(job)
    return scope !== undefined && (call.undone.get(scope) ?? at) < at
  }

  #note(call: BatchCall, job: DecidableJob, at = 0): void {
    const scope = this.#scopeOf(job)
    if (scope !== undefined) call.undone.set(scope, Math.min(at, call.undone.get(scope) ?? at))
  }

  #scopeOf(job: DecidableJob): string | undefined {
    return this.#scope === 'checkpoint' ? WHOLE_CALL : inOrder(job)?.keyText
  }
}
