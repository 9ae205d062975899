import type { Backoff } from './backoff.ts'
import { backoffDelayMs, capDelayMs } from './backoff.ts'
import type { Marker } from './markers.ts'

/** Why an entry became a dead letter. */
export const DEAD_LETTER_REASONS = [
  /** The codec could not read it. */
  'malformed',
  /** Its payload does not fit the schema. */
  'invalid',
  /** No route handles its type. */
  'unrouted',
  /** Its version is newer than the definition's. */
  'newer-version',
  /** Its version is older than the definition's, and no upcast leads from it to there. */
  'unsupported-version',
  /** Larger than `maxEntryBytes`; it was not decoded. */
  'oversize',
  /** Older than `maxAgeMs`. */
  'expired',
  /** Its handler threw `NonRetryableError`. */
  'non-retryable',
  /** Its handler failed at every delivery. */
  'max-deliveries',
  /** The process died during its last delivery. */
  'crashed',
] as const

/** Why an entry became a dead letter. */
export type DeadLetterReason = (typeof DEAD_LETTER_REASONS)[number]

/** What an entry gets once its run is over. */
export type Outcome =
  | { readonly kind: 'ack' }
  /** Acknowledged in one fenced step with these commands, and its marker: all or none. */
  | { readonly kind: 'ack-with'; readonly commands: readonly JoinedCommand[]; readonly marker?: Marker | undefined }
  /** Acknowledged without a call, if its marker says that its event was handled; else set aside, at no delivery. */
  | { readonly kind: 'duplicate'; readonly marker: Marker }
  /** Acknowledged without a call. */
  | { readonly kind: 'ignore' }
  /** Set aside without a call, and without using up its delivery: back after `delayMs`, or once that condition holds. */
  | { readonly kind: 'park'; readonly delayMs: number; readonly condition?: string | undefined }
  /** Set aside until the next delivery, `delayMs` from now. */
  | { readonly kind: 'retry'; readonly delayMs: number }
  | { readonly kind: 'dead-letter'; readonly letter: DeadLetterFacts }
  /** Handed back with that many deliveries: to the owner who had it, or set aside under `parked`, and back at once or once that condition holds. */
  | {
      readonly kind: 'release'
      readonly owner: string
      readonly deliveryCount: number
      readonly condition?: string | undefined
      /** The request that was to start it was not answered: the server may have counted one delivery more than we know of. */
      readonly mayHaveStarted?: boolean
    }

/** What each kind of outcome does to its entry on the server, and which number of the report counts it once that is stored. */
export const OUTCOME_KINDS = {
  ack: { op: 'ack', counter: 'acked' },
  'ack-with': { op: 'join', counter: 'acked' },
  duplicate: { op: 'join', counter: 'acked' },
  ignore: { op: 'ignore', counter: 'ignored' },
  park: { op: 'aside', counter: 'parked' },
  retry: { op: 'aside', counter: 'retried' },
  'dead-letter': { op: 'dead', counter: 'deadLettered' },
  release: { op: 'aside', counter: 'released' },
} as const satisfies Record<Outcome['kind'], { readonly op: string; readonly counter: string }>

/** Whether an outcome takes its entry off the pending list for good, and nothing else. */
export function isPlainAck({ kind }: Outcome): boolean {
  const { counter } = OUTCOME_KINDS[kind]
  return counter === 'acked' || counter === 'ignored'
}

/** Whether an outcome sets its entry aside until a time. */
export function comesBackInTime(outcome: Outcome): outcome is Outcome & { readonly delayMs: number } {
  return outcome.kind === 'retry' || (outcome.kind === 'park' && outcome.condition === undefined)
}

/** A command that joins an acknowledgement, on keys in the stream's hash slot; the first argument is its key. */
export type JoinedCommand = readonly [name: string, ...args: (string | number)[]]

/** A script of this package that asks about what was read. */
export interface ScriptQuestion {
  readonly script: { readonly lua: string; readonly keyCount: number | undefined }
  readonly keys: readonly string[]
  readonly args: readonly (string | number)[]
}

/** What a dead letter says beside the entry itself. */
export interface DeadLetterFacts {
  readonly reason: DeadLetterReason
  readonly error?: unknown
  readonly eventId?: string | undefined
  readonly eventType?: string | undefined
  readonly schemaVersion?: number | undefined
  readonly traceparent?: string | undefined
  /** Milliseconds since 1970. */
  readonly lastDeliveredAt: number
  /** Milliseconds since 1970. */
  readonly failedAt: number
}

export const ACK_OUTCOME: Outcome = { kind: 'ack' }
export const IGNORE_OUTCOME: Outcome = { kind: 'ignore' }

/** What a handler's failure means for its entry. */
export type FailureVerdict =
  | { readonly kind: 'retry'; readonly delayMs: number }
  | { readonly kind: 'dead-letter'; readonly reason: DeadLetterReason }
  /** It will not pass by itself if it is lasting. */
  | { readonly kind: 'release'; readonly isLasting: boolean }

export interface FailureRules {
  readonly backoff: Backoff
  readonly maxDeliveries: number
}

/**
 * Judges a failed delivery by what the handler threw: `NonRetryableError` is a dead letter now, `RetryAfterError` names its own wait,
 * `UnavailableError` was none at all, anything else waits by the back-off; the last delivery is never retried.
 *
 * Errors are known by their `code`, so that a handler bundled with its own copy of this package is understood.
 *
 * @param isOfAll It was thrown for several entries that are told apart later: `NonRetryableError` says nothing of one of them.
 */
export function judgeFailure(
  error: unknown,
  deliveryCount: number,
  rules: FailureRules,
  random: number,
  isOfAll = false,
): FailureVerdict {
  const { code, retryAfterMs, isLasting } = wishOf(error)
  if (code === 'ERR_NON_RETRYABLE' && !isOfAll) return { kind: 'dead-letter', reason: 'non-retryable' }
  if (code === 'ERR_UNAVAILABLE') return { kind: 'release', isLasting: Boolean(isLasting) }
  if (deliveryCount >= rules.maxDeliveries) return { kind: 'dead-letter', reason: 'max-deliveries' }
  if (code === 'ERR_RETRY_AFTER' && typeof retryAfterMs === 'number' && retryAfterMs >= 0) {
    return { kind: 'retry', delayMs: capDelayMs(retryAfterMs) }
  }
  return { kind: 'retry', delayMs: backoffDelayMs(rules.backoff, deliveryCount, random) }
}

interface Wish {
  readonly code?: unknown
  readonly retryAfterMs?: unknown
  readonly isLasting?: unknown
}

// handlers may throw anything, also what cannot be read
function wishOf(error: unknown): Wish {
  try {
    const { code, retryAfterMs, isLasting } = (error ?? {}) as Wish
    return { code, retryAfterMs, isLasting }
  } catch {
    return {}
  }
}
