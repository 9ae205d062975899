import { wrongUseError } from './core/options.ts'

/** Time as an argument: the system's in production, a hand-driven one in tests. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number
  /** Milliseconds of a clock that never goes back; only differences mean something. */
  monotonic(): number
  /** Calls back once after that many milliseconds, unless cancelled. */
  after(ms: number, callback: () => void): () => void
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, ms)
    return () => clearTimeout(timer)
  },
}

/** @throws {TypeError} Not a clock. */
export function assertClock(action: string, clock: Clock): void {
  const given = (clock ?? {}) as Partial<Clock>
  if ([given.now, given.monotonic, given.after].some((method) => typeof method !== 'function'))
    throw wrongUseError(action, 'clock must be a Clock, as from createVirtualClock()')
}
