/** What keeps publishers from waking others stands for so long, and is renewed in half that time. */
const FLAG_MS = 4_000

/** The flag that keeps publishers from waking other pollers while one listens. */
export class PublishersFlag {
  #renewedAt = Number.NEGATIVE_INFINITY

  /**
   * For how many milliseconds the flag is to stand from now on; `undefined` while it stands, or where no time is left for it.
   *
   * @param now On the monotonic clock.
   * @param atMostMs When it must be over.
   */
  holdMs(now: number, atMostMs: number): number | undefined {
    const holdMs = Math.floor(Math.min(FLAG_MS, atMostMs))
    if (now < this.#renewedAt || holdMs <= 0) return undefined
    this.#renewedAt = now + holdMs / 2
    return holdMs
  }
}
