/** An end in time for several waits, one after the other. */
export interface Deadline {
  /** @throws What `late` makes, once the time is up. */
  of<T>(work: Promise<T>): Promise<T>
  cancel(): void
}

/** @param late Called once, when the time is up. */
export function startDeadline(ms: number, late: () => Error): Deadline {
  const { promise: passed, reject } = Promise.withResolvers<never>()
  passed.catch(() => {})
  const timer = setTimeout(() => reject(late()), ms)
  return {
    of(work) {
      // it goes on alone if it is late
      work.catch(() => {})
      return Promise.race([work, passed])
    },
    cancel: () => clearTimeout(timer),
  }
}
