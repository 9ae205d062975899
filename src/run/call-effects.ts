import type { Outcome } from '../core/outcome.ts'
import type { SettlementEffects } from '../group/group.ts'

/** What `effects` collects for one call of a handler. A run knows no more of it: all else comes with `effects`. */
export interface CallEffects {
  /** The call has ended: nothing more is collected. */
  end(): void
  /** What has to be over before it can join, if anything has. */
  stored(): Promise<unknown> | undefined
  /**
   * Has the jobs whose handler succeeded acknowledged with what it asked for.
   *
   * @param jobs All of the call, each with its outcome.
   * @param fail Gives a job another outcome: its effects cannot take place. Called again later, where the server says so.
   */
  join(jobs: readonly JobWithEffects[], fail: (job: JobWithEffects, error: Error) => void): void
}

/** A job, as effects see it. */
export interface JobWithEffects {
  readonly id: string
  outcome: Outcome | undefined
  effects: SettlementEffects | undefined
}
