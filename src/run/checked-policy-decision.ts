import { formatCondition } from '../core/condition.ts'
import type { Marker } from '../core/markers.ts'
import type { DeadLetterReason, Outcome } from '../core/outcome.ts'
import { DEAD_LETTER_REASONS, IGNORE_OUTCOME } from '../core/outcome.ts'
import type { Decision, PolicyJob } from '../define/policy.ts'
import type { PreparedEntry } from './prepare.ts'
import type { RejectedEntry } from './rejected.ts'

/** What is parked for longer is never seen again. */
const LONGEST_PARK_MS = 100 * 365 * 86_400_000

/** Characters of what something waits for. */
const LONGEST_UNTIL = 100

/** A job, as far as deciding about it needs it. */
export interface DecidableJob extends PolicyJob {
  /** Milliseconds since 1970. */
  readonly deliveredAt: number
  readonly prepared: PreparedEntry | undefined
  outcome: Outcome | undefined
  release(): void
  setAside(delayMs: number, condition?: string): Outcome
}

/** The dead letter of a job. @param failedAt Milliseconds since 1970. */
export function deadLetterOutcome(
  { deliveredAt }: DecidableJob,
  reason: RejectedEntry['reason'],
  error: unknown,
  decoded: RejectedEntry['decoded'],
  failedAt: number,
): Outcome {
  const facts = { reason, error, lastDeliveredAt: deliveredAt, failedAt }
  const { eventId, type, version = 1, traceparent } = decoded ?? {}
  return {
    kind: 'dead-letter',
    letter: decoded ? { ...facts, eventId, eventType: type, schemaVersion: version, traceparent } : facts,
  }
}

/** A decision, and the policy that made it. */
export type CheckedPolicyDecision = Decision & { readonly policy: string }

/** @throws {TypeError} It is no marker. */
export function checkMarker(marker: unknown): Marker {
  const { key, ttlMs } = (marker ?? {}) as Partial<Record<keyof Marker, unknown>>
  if (typeof key === 'string' && key !== '' && Number.isSafeInteger(ttlMs) && (ttlMs as number) > 0)
    return { key, ttlMs: ttlMs as number }
  throw new TypeError('a marker must have a key, and whole milliseconds from 1 as ttlMs')
}

/**
 * What a policy decided, checked and copied where it enters: what is read of it once says the same later.
 *
 * @param policy Its name: what it parks waits for a condition of its own.
 * @throws {TypeError} It is no decision.
 */
export function checkPolicyDecision(decision: Decision | undefined, policy: string): CheckedPolicyDecision | undefined {
  if (decision === undefined) return undefined
  const { action, delayMs, until, reason, error, marker } = (decision ?? {}) as Partial<
    Record<'action' | 'delayMs' | 'until' | 'reason' | 'error' | 'marker', unknown>
  >
  if (action === 'ignore') return { action, policy }
  if (action === 'duplicate') return { action, marker: checkMarker(marker), policy }
  if (action === 'park' && typeof until === 'string' && until.length > 0 && until.length <= LONGEST_UNTIL)
    return { action, until, policy }
  if (action === 'park' && typeof delayMs === 'number' && delayMs >= 0 && delayMs <= LONGEST_PARK_MS)
    return { action, delayMs, policy }
  if (action === 'deadLetter' && DEAD_LETTER_REASONS.includes(reason as DeadLetterReason))
    return { action, reason: reason as DeadLetterReason, error: error as Error, policy }
  throw new TypeError(
    'a decision must be to ignore, a duplicate, to park for delayMs from 0 to 100 years or until a text of 1 to 100 characters, or a deadLetter for one of the reasons there are',
  )
}

/** The outcome that a policy decided for. @param now Milliseconds since 1970. */
export function policyDecisionOutcome(decision: CheckedPolicyDecision, job: DecidableJob, now: number): Outcome {
  if (decision.action === 'ignore') return IGNORE_OUTCOME
  if (decision.action === 'duplicate') return { kind: 'duplicate', marker: decision.marker }
  if (decision.action === 'deadLetter')
    return deadLetterOutcome(job, decision.reason, decision.error, job.prepared?.decoded, now)
  if ('until' in decision) return job.setAside(0, formatCondition(decision.policy, decision.until))
  return job.setAside(Math.ceil(decision.delayMs))
}
