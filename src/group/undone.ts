/** What the slowest registered group of a stream has yet to do. */
export interface Undone {
  readonly group: string
  /** Entries that it has not acknowledged: those it was not given, and those that are pending. */
  readonly entries: number
}

/** Asks for a stream's; `undefined` where no group is registered. */
export type MeasureUndone = (stream: string) => Promise<Undone | undefined>
