import type { LimitInspection } from '../inspect/inspection.ts'

/** What is asked of a group whose consumer has limits. */
export interface FlowFacts {
  /** Those without `by`. */
  readonly limits: readonly LimitInspection[]
}
