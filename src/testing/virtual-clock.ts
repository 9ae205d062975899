import { setImmediate } from 'node:timers/promises'
import type { Clock } from '../clock.ts'
import { assertInteger, assertKnownOptions } from '../core/options.ts'

/** Where a virtual clock starts. */
export interface VirtualClockOptions {
  /** Milliseconds since 1970 at which it starts. Default: the start of 2030, UTC. */
  readonly startMs?: number
}

/** A clock that stands still until it is advanced. */
export interface VirtualClock extends Clock {
  /**
   * Moves on by that many milliseconds and calls back what is due on the way, each at its own time, in the order of those times. Before
   * and after each one, promises that wait for nothing else run to their end. Await it before the next call.
   */
  advance(ms: number): Promise<void>
}

/**
 * Makes a clock for tests: what takes a `clock` then waits for `advance()` instead of for time.
 *
 * @throws {TypeError | RangeError} A bad option.
 */
export function createVirtualClock(options: VirtualClockOptions = {}): VirtualClock {
  assertKnownOptions('create virtual clock', options, ['startMs'])
  const { startMs = Date.UTC(2030, 0, 1) } = options
  assertInteger('create virtual clock', 'startMs', startMs, 0)
  let now = startMs
  const timers = new Set<{ readonly at: number; readonly callback: () => void }>()
  return {
    now: () => now,
    monotonic: () => now,
    after(ms, callback) {
      const timer = { at: now + Math.max(0, ms), callback }
      timers.add(timer)
      return () => void timers.delete(timer)
    },
    async advance(ms) {
      if (!(ms >= 0)) throw new RangeError(`Cannot advance the clock: ms must be >= 0, got ${ms}`)
      const until = now + ms
      await setImmediate()
      for (let next = earliest(timers, until); next; next = earliest(timers, until)) {
        timers.delete(next)
        now = next.at
        next.callback()
        await setImmediate()
      }
      now = until
    },
  }
}

/** Of timers for the same time, the one that was set first. */
function earliest<T extends { readonly at: number }>(timers: Iterable<T>, until: number): T | undefined {
  let first: T | undefined
  for (const timer of timers) if (timer.at <= until && (!first || timer.at < first.at)) first = timer
  return first
}
