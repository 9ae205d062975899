import type { CheckedPolicyDecision } from '../../run/checked-policy-decision.ts'
import { breakerText } from './known-breakers.ts'

/** The name of the policy whose entries wait for a condition: that their circuit breaker is closed. */
export const CIRCUIT_BREAKER = 'circuitBreaker'

/** What the report counts of what each policy sets aside. */
export const COUNTERS = {
  [CIRCUIT_BREAKER]: 'circuitOpen',
  rateLimit: 'rateLimited',
  concurrencyLimit: 'concurrencyLimited',
} as const

/** How long before its time what was set aside comes back, or what waits asks again: so that its turn is given by then. */
const EARLY_MS = 250

/** What is set aside comes back at multiples of that, so that those of one tenth of a second come back together. */
const TOGETHER_MS = 100

/** When what may ask again at that time of the server comes back, the same. */
export function comesBackAt(serverTime: number): number {
  return Math.ceil((serverTime - EARLY_MS) / TOGETHER_MS) * TOGETHER_MS
}

/** How long what waits in the run for its turn waits before it asks again: the nearer, the shorter. */
export function earlier(waitMs: number): number {
  return waitMs > EARLY_MS ? waitMs - EARLY_MS : waitMs / 2
}

/** Until the circuit breaker of that event type is closed, or probed. */
export function parkForBreaker(eventType: string): CheckedPolicyDecision {
  return { action: 'park', until: breakerText(eventType), policy: CIRCUIT_BREAKER }
}
