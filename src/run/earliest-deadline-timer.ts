import type { Clock } from '../clock.ts'

/** One timer for many ends, set for the first of them. */
export class EarliestDeadlineTimer {
  readonly #clock: Clock
  readonly #onEnd: () => void
  #endsAt = Infinity
  #cancel: (() => void) | undefined

  /** @param onEnd Called when the first end has come, give or take a millisecond; it stops the timer, and watches the ends that are left. */
  constructor(clock: Clock, onEnd: () => void) {
    this.#clock = clock
    this.#onEnd = onEnd
  }

  /** @param endsAt On the clock's monotonic scale, in milliseconds. */
  watch(endsAt: number): void {
    if (endsAt >= this.#endsAt) return
    this.#cancel?.()
    this.#endsAt = endsAt
    const waitMs = Math.max(0, Math.ceil(endsAt - this.#clock.monotonic()))
    this.#cancel = this.#clock.after(waitMs, this.#onEnd)
  }

  stop(): void {
    this.#cancel?.()
    this.#cancel = undefined
    this.#endsAt = Infinity
  }
}
