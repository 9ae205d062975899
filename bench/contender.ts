/** One way to handle the same events. */
export interface Contender {
  /** Makes ready what the clock is not to see: connections, a group or a queue of this round's own, and what is in it. */
  prepare(round: string, count: number): Promise<void>
  /** Handles everything there is, `count` events, and resolves when they are done for good. The clock runs meanwhile. */
  consume(handle: Handle, count: number): Promise<void>
  /** @throws {Error} Something is still pending, or the contender's own count is not the expected one. */
  check(count: number): Promise<void>
  /** Requests of the last run, each with one or more commands, where the contender counts them. */
  readonly roundTrips?: number
  close(): Promise<void>
}

/** The handler that all contenders call. */
export type Handle = (payload: unknown) => Promise<void>

export function expectEqual(what: string, actual: unknown, expected: unknown): void {
  if (actual !== expected) throw new Error(`Cannot trust this run: ${what} must be ${expected}, got ${actual}`)
}
