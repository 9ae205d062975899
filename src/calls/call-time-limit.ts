/** `setTimeout` takes no more. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** The time of a call: aborted when it is over, or when the caller is. */
export class CallTimeLimit {
  readonly #abort = new AbortController()
  readonly #timer: NodeJS.Timeout
  readonly #caller: AbortSignal
  readonly #late: () => Error

  /** @param late Makes the error of what has not ended by then. */
  constructor(ms: number, caller: AbortSignal, late: () => Error) {
    this.#caller = caller
    this.#late = late
    this.#timer = setTimeout(this.#end, Math.min(ms, MAX_TIMER_MS))
    if (caller.aborted) this.#end()
    else caller.addEventListener('abort', this.#end)
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** What `work` comes to, or the error of its being late: it is not waited for any longer. */
  hold<T>(work: () => Promise<T>): Promise<T> {
    const { signal } = this
    return new Promise((resolve, reject) => {
      const end = () => reject(signal.reason as Error)
      if (signal.aborted) return end()
      signal.addEventListener('abort', end)
      work()
        .then(resolve, reject)
        .finally(() => signal.removeEventListener('abort', end))
    })
  }

  /** Leaves no timer and no listener. */
  stop(): void {
    clearTimeout(this.#timer)
    this.#caller.removeEventListener('abort', this.#end)
  }

  readonly #end = (): void => {
    this.stop()
    this.#abort.abort(this.#late())
  }
}
