/** A page of what was set aside when a group was lost. */
export interface HealedPage {
  readonly isDone: boolean
  /** Entries that had been trimmed. */
  readonly lost: number
}
