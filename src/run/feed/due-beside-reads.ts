import type { CallPool } from '../call-pool.ts'
import type { PoliciesOfRun } from '../policy-engine.ts'
import type { Run } from '../run.ts'

/** What is due for a run that reads until nothing is left: what was set aside until its turn, and what policies say is due. */
export interface DueBesideReads {
  /** Milliseconds after which the stream is inspected again, at most. */
  readonly lookAgainMs: number
  /** Something may be taken now. */
  readonly mayTake: boolean
  /** Takes what is due, once there is room for it. @throws {RedisConnectionError} No reply came. */
  take(): Promise<void>
  /** Something was settled, which may come back. */
  noteSettled(): void
  /** Waits for what is due in a moment. @param isVetoed Nothing is read or taken: only what policies say counts. @returns Whether there is such. */
  untilDue(isVetoed: boolean): Promise<boolean>
  /** Nothing more is taken. */
  end(): void
}

interface DuePolicies {
  dueOf(run: Run, pool: CallPool): DueBesideReads
}

/** What a poller that reads until nothing is left takes, or waits for, beside that; `undefined` without policies. */
export function dueBesideReads(run: Run, pool: CallPool): DueBesideReads | undefined {
  return (run.policies as (PoliciesOfRun & DuePolicies) | undefined)?.dueOf(run, pool)
}
