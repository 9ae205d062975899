import type { Outcome } from '../core/outcome.ts'
import type { Decision, PolicyJob } from '../policy.ts'
import type { Prepared, Rejected } from './prepare.ts'

/** A job, as far as deciding about it needs it. */
export interface Decidable extends PolicyJob {
  /** Milliseconds since 1970. */
  readonly deliveredAt: number
  readonly prepared: Prepared | undefined
  outcome: Outcome | undefined
  release(): void
}

/** The dead letter of a job. @param failedAt Milliseconds since 1970. */
export function letterOf(
  { deliveredAt }: Decidable,
  reason: Rejected['reason'],
  error: unknown,
  decoded: Rejected['decoded'],
  failedAt: number,
): Outcome {
  const facts = { reason, error, lastDeliveredAt: deliveredAt, failedAt }
  const { eventId, type, version = 1, traceparent } = decoded ?? {}
  return {
    kind: 'dead-letter',
    letter: decoded ? { ...facts, eventId, eventType: type, schemaVersion: version, traceparent } : facts,
  }
}

/** A decision, and the sorted set by which what its policy parks comes back. */
export type Decided = Decision & { readonly index?: string | undefined }

/** What a policy decided, looked at where it enters. @throws {TypeError} It is no decision. */
export function checked(decision: Decision | undefined, index: string | undefined): Decided | undefined {
  if (decision === undefined || decision?.action === 'ignore' || decision?.action === 'deadLetter') return decision
  if (decision?.action === 'park' && decision.delayMs >= 0)
    return index === undefined ? decision : { ...decision, index }
  throw new TypeError('a decision must be to ignore, to park for delayMs >= 0, or a deadLetter')
}

/** The outcome that a policy decided for. @param now Milliseconds since 1970. */
export function outcomeOf(decision: Decided, job: Decidable, now: number): Outcome {
  if (decision.action === 'ignore') return { kind: 'ignore' }
  if (decision.action === 'park') return { kind: 'park', delayMs: Math.ceil(decision.delayMs), index: decision.index }
  return letterOf(job, decision.reason, decision.error, job.prepared?.decoded, now)
}
