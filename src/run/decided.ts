import type { Outcome } from '../core/outcome.ts'
import type { Decision } from '../policy.ts'
import type { Job } from './job.ts'
import type { Rejected } from './prepare.ts'

/** The dead letter of a job. @param failedAt Milliseconds since 1970. */
export function letterOf(
  { deliveredAt }: Job,
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
export function outcomeOf(decision: Decision, job: Job, now: number): Outcome {
  if (decision?.action === 'ignore') return { kind: 'ignore' }
  if (decision?.action === 'park' && decision.delayMs >= 0) return { kind: 'park', delayMs: Math.ceil(decision.delayMs) }
  if (decision?.action === 'deadLetter') return letterOf(job, decision.reason, decision.error, job.prepared?.decoded, now)
  throw new TypeError('A policy must decide to ignore, to park for delayMs >= 0, or for a deadLetter')
}
