import type { Outcome } from '../core/outcome.ts'
import type { Decision, PolicyJob } from '../policy.ts'
import type { Prepared, Rejected } from './prepare.ts'

/** A job, as far as deciding about it needs it. */
export interface Decidable extends PolicyJob {
  /** Milliseconds since 1970. */
  readonly deliveredAt: number
  readonly prepared: Prepared | undefined
  readonly outcome: Outcome | undefined
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

/** The outcome that a policy decided for. @param now Milliseconds since 1970. @throws {TypeError} No decision. */
export function outcomeOf(decision: Decision, job: Decidable, now: number): Outcome {
  if (decision?.action === 'ignore') return { kind: 'ignore' }
  if (decision?.action === 'park' && decision.delayMs >= 0)
    return { kind: 'park', delayMs: Math.ceil(decision.delayMs) }
  if (decision?.action === 'deadLetter')
    return letterOf(job, decision.reason, decision.error, job.prepared?.decoded, now)
  throw new TypeError('A policy must decide to ignore, to park for delayMs >= 0, or for a deadLetter')
}
