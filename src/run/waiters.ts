interface Waiter {
  readonly isMet: () => boolean
  readonly resolve: () => void
}

/** Those who wait until something is so. */
export class Waiters {
  #waiting: readonly Waiter[] = []

  /** Resolves once that is so; checked whenever `notify` is called. */
  async until(isMet: () => boolean): Promise<void> {
    if (isMet()) return
    await new Promise<void>((resolve) => {
      this.#waiting = [...this.#waiting, { isMet, resolve }]
    })
  }

  /** Looks whether what somebody waits for is so by now. */
  notify(): void {
    // nothing is made where none is, as after most calls
    if (this.#isAnyMet) this.#resolveMet()
  }

  get #isAnyMet(): boolean {
    for (const { isMet } of this.#waiting) if (isMet()) return true
    return false
  }

  #resolveMet(): void {
    const met = this.#waiting.filter(({ isMet }) => isMet())
    this.#waiting = this.#waiting.filter((waiter) => !met.includes(waiter))
    for (const { resolve } of met) resolve()
  }
}
