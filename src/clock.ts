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

/**
 * Waits for an answer, and no longer than that.
 *
 * @param late Called with the error once time is up.
 * @throws {Error} No answer came in time; whatever becomes of the call then.
 */
export async function answerWithin<T>(
  clock: Pick<Clock, 'after'>,
  ms: number,
  calling: Promise<T>,
  late?: (error: Error) => void,
): Promise<T> {
  const limitMs = Math.floor(ms)
  const timeUp = Promise.withResolvers<never>()
  const cancel = clock.after(limitMs, () => {
    const error = new Error(`no answer within ${limitMs} ms`)
    late?.(error)
    timeUp.reject(error)
  })
  return Promise.race([calling, timeUp.promise]).finally(cancel)
}

/** @throws {TypeError} Not a clock. */
export function assertClock(action: string, clock: Clock): void {
  const given = (clock ?? {}) as Partial<Clock>
  if ([given.now, given.monotonic, given.after].some((method) => typeof method !== 'function'))
    throw wrongUseError(action, 'clock must be a Clock, as from createVirtualClock()')
}
