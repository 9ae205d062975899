import type { Route } from '../define/route.ts'
import type { Job } from './job.ts'
import type { PoliciesOfRun } from './policy-engine.ts'
import type { Run } from './run.ts'

/** What a pool shows policies of itself. */
export interface PoolOfPolicies {
  /** How many calls may start beside those that run, or how many of a route; less than one: none. */
  room(route?: Route): number
  /** Jobs that nobody has taken yet. */
  queued(): readonly Job[]
  /** A job has its outcome that it waited for. */
  close(): void
  /** No time was left to start them. */
  release(jobs: readonly Job[]): void
  /** Starts what may start. */
  fill(): void
}

/** Jobs of a pool that policies hold back though there is room, or decide about: it comes with them. */
export interface JobsOfPolicies {
  /** Jobs that are held back. */
  readonly count: number
  /** One of these is held back no more. */
  readonly hasReady: boolean
  /** Of these. */
  readonly runs: readonly Run[]
  /** Milliseconds until one of these can no longer start. */
  readonly startableMs: number
  /** Has the policies of a run inspect the pool, and decide about its jobs. */
  serve(run: Run): void
  /** Whether policies hold it back; it is kept then, until `take` answers it. */
  holds(job: Job): boolean
  /** The oldest that is held back no more. @param now On the monotonic clock. */
  take(now: number): Job | undefined
  /** @returns Those of a call that have their outcome; the others wait for what a policy says. */
  decidedOf(jobs: readonly Job[]): readonly Job[]
  /** Policies hear of the ends of jobs of one run, and may decide about those that they hold back. */
  over(jobs: readonly Job[]): void
}

interface PoolPolicies {
  /** The jobs of a pool that this run, and others, have there. */
  jobsOf(pool: PoolOfPolicies): JobsOfPolicies
}

/** What a pool needs of policies. Jobs know their run, and a run its policies, which therefore do not say so. */
export function poolPoliciesOf(policies: PoliciesOfRun): PoolPolicies {
  return policies as PoliciesOfRun & PoolPolicies
}
