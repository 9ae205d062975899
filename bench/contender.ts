/** One way to handle the same events. */
export interface Contender {
  readonly name: string
  /** Makes ready what the clock is not to see: connections, and a group or a queue of this round's own. */
  prepare(round: string): Promise<void>
  /** Handles everything there is, `count` events, and resolves when they are done for good. The clock runs meanwhile. */
  consume(handle: Handle, count: number): Promise<void>
  /** @throws {Error} Something is still pending, or the contender's own count is not the expected one. */
  check(count: number): Promise<void>
  close(): Promise<void>
}

/** The handler that all contenders call. */
export type Handle = (payload: unknown) => Promise<void>

export function expectEqual(what: string, actual: unknown, expected: unknown): void {
  if (actual !== expected) throw new Error(`Cannot trust this run: ${what} must be ${expected}, got ${actual}`)
}
