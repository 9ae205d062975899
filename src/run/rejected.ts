import type { DecodedEvent } from '../core/codec.ts'
import type { DeadLetterReason } from '../core/outcome.ts'

/** An entry that no retry can help: it never reaches a handler. */
export interface RejectedEntry {
  readonly kind: 'rejected'
  readonly reason: DeadLetterReason
  readonly error: unknown
  /** What could still be read of it. */
  readonly decoded: DecodedEvent | undefined
}

/** An entry that is not for the group. */
export interface IgnoredEntry {
  readonly kind: 'ignored'
}

/** An entry that is not for this deployment, or not yet: it waits for a condition. */
export interface AwaitingEntry {
  readonly kind: 'awaiting'
  readonly eventType: string
  readonly condition: string
}

export const IGNORED_ENTRY: IgnoredEntry = { kind: 'ignored' }
