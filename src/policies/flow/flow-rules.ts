import type { PolicyJob } from '../../define/policy.ts'
import { spelled } from '../spelled.ts'

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

/** What the names of a policy's limits begin with: the event type, or `*` for the consumer, and a number if it is not the first of its kind there. */
export function scopeOf(rules: readonly FlowRule[], kind: FlowRule['kind'], eventType: string | undefined): string {
  const before = rules.filter((rule) => rule.kind === kind && rule.eventType === eventType).length
  const scope = eventType === undefined ? '*' : spelled(encoded(eventType))
  return before === 0 ? scope : `${scope}~${before + 1}`
}

/** Without what stands for the consumer, or before a number: an event type may have any name. */
function encoded(eventType: string): string {
  return encodeURIComponent(eventType.toWellFormed()).replace(/[*~]/g, (one) => (one === '*' ? '%2A' : '%7E'))
}

/** The rules of the circuit breaker that a job's event type has, if any. */
export function breakerRulesOf(rules: readonly FlowRule[], { event }: PolicyJob): BreakerRules | undefined {
  const rule = rules.find(
    ({ kind, eventType }) => kind === 'breaker' && (eventType === undefined || eventType === event?.type),
  )
  return rule?.kind === 'breaker' ? rule.rules : undefined
}
