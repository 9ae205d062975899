/** An end for several waits, one after the other: in time, or before by whoever knows that nothing will come. */
export interface Deadline {
  /** @throws What `late` makes, once the time is up; or what `fail` was given. */
  of<T>(work: Promise<T>): Promise<T>
  fail(error: Error): void
  cancel(): void
}

/** @param late Called once, when the time is up. */
export function startDeadline(ms: number, late: () => Error): Deadline {
  // of one command: what races with a promise that lives as long as a client is kept until then
  const { promise: ended, reject: fail } = Promise.withResolvers<never>()
  ended.catch(() => {})
  const timer = setTimeout(() => fail(late()), ms)
  return {
    // one that is late goes on alone; the race hears of its end, and a handler more would keep what it brings
    of: (work) => Promise.race([work, ended]),
    fail,
    cancel: () => clearTimeout(timer),
  }
}
