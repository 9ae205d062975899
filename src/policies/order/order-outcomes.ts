import type { Outcome } from '../../core/outcome.ts'
import type { Decision } from '../../define/policy.ts'
import { ORDER_POLICY } from '../../group/ordering.ts'
import type { CheckedPolicyDecision } from '../../run/checked-policy-decision.ts'
import type { AfterBatchItemFailure } from './batch-failures.ts'

/** What a user chose. */
export interface OrderRules {
  readonly afterBatchItemFailure: AfterBatchItemFailure
  /** A key waits after a dead letter. */
  readonly waitsForLetters: boolean
}

/** What is settled so waits in its lane; if that is gone by then, it comes first. */
export const WAIT_IN_LANE: Decision = { action: 'park', until: '=' }

/** The same for what a call of several events was given too early. */
export const CALLED_EARLY: CheckedPolicyDecision = { ...WAIT_IN_LANE, policy: ORDER_POLICY }

/** Outcomes of which the server has the last word: an effect that it refuses, a duplicate that is none. */
export function isStoredFirst(kind: Outcome['kind'] | undefined): boolean {
  return kind === 'ack-with' || kind === 'duplicate'
}

/** What a decision comes to. */
export function kindOf(decision: CheckedPolicyDecision | undefined): Outcome['kind'] | undefined {
  return decision?.action === 'deadLetter' ? 'dead-letter' : decision?.action
}

/** Outcomes after which an entry is pending no more. */
export function isDone(kind: Outcome['kind']): boolean {
  return kind === 'ack' || kind === 'ignore' || kind === 'dead-letter'
}
