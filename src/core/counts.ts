/** What became of entries whose outcomes were settled. */
export interface SettleCounts {
  /** Entries in an answered XACK. */
  acked: number
  /** How many of `acked` were no longer pending: somebody else had acked them, or the group was lost meanwhile. */
  ackMissed: number
  /** How many of `acked` were duplicates: another entry of their event had been handled. No handler was called, unless both ran at once. */
  duplicates: number
  /** Entries acknowledged without a call, since a policy said that they are not for this group. */
  ignored: number
  /** Failed entries that were set aside until their next delivery. */
  retried: number
  /** Entries set aside by a policy without a call; it costs them no delivery. */
  parked: number
  /** Entries moved to the dead-letter stream. */
  deadLettered: number
  /** Entries handed back because their handler never started; it costs them no delivery. */
  released: number
  /** Entries whose outcome was refused, because another had claimed or settled them, or they were trimmed. */
  superseded: number
  /** Entries whose outcome could not be written: they are still pending, and come again. */
  unsettled: number
  /** Entries trimmed from the stream while they were pending. Stands beside the sum. */
  lost: number
  /** Dead letters that `deadLetters.maxLength` removed. Stands beside the sum. */
  deadLettersTrimmed: number
  /** Dead letters that were gone though their key waited for them: it went on. Stands beside the sum; left out where there are none. */
  deadLettersGone?: number
}

export function zeroSettleCounts(): SettleCounts {
  return {
    acked: 0,
    ackMissed: 0,
    duplicates: 0,
    ignored: 0,
    retried: 0,
    deadLettered: 0,
    parked: 0,
    released: 0,
    superseded: 0,
    unsettled: 0,
    lost: 0,
    deadLettersTrimmed: 0,
  }
}
