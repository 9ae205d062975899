/** A key in the stream's hash slot that says which entry of an event was handled, or is being handled. */
export interface Marker {
  readonly key: string
  /** Milliseconds for which it stands. */
  readonly ttlMs: number
}

/** What a marker's text begins with; the entry's id follows. */
export const MARKER_STATES = { handled: 'd', held: 'h' } as const

/** What the script that holds markers answers for an entry; a number from 0 is the milliseconds after which it asks again. */
export const HOLD_ANSWERS = { held: -1, handled: -2, running: -3 } as const

/** How soon an entry asks again whose event another one holds. */
export const HOLD_WAIT_MS = { running: 1_000, afterDue: 500, forCondition: 10_000 } as const

/** The least that a hold stands: longer than an entry runs, or waits for its retry. */
export const HOLD_MS = 25 * 3_600_000
