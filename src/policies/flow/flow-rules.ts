import type { PolicyJob } from '../../define/policy.ts'

/** When a circuit breaker opens, and when it is probed. */
export interface BreakerRules {
  readonly failures: number
  readonly perMs: number
  readonly probeAfterMs: number
  /** Whether a failure counts. */
  readonly when: (error: unknown) => boolean
}

/** What a policy has the gate of its run ask for. */
export type FlowRule = {
  /** Only its jobs; `undefined`: all. */
  readonly eventType: string | undefined
  readonly policy: string
} & (
  | { readonly kind: 'breaker'; readonly rules: BreakerRules }
  | { readonly kind: 'place'; readonly max: number; readonly nameOf: (job: PolicyJob) => string | undefined }
  | {
      readonly kind: 'turn'
      readonly max: number
      readonly perMs: number
      readonly nameOf: (job: PolicyJob) => string | undefined
    }
)
