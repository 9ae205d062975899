/** For how long a run reserves turns ahead of their time. */
const AHEAD_MS = 250

/** Turns ahead, at most. */
const MOST = 500

/**
 * By how much longer turns last after each that lapsed, and by how much shorter after each that did not: in balance where one of thirty lapses. A turn that lasts longer has
 * all of them farther apart, one that lapses is lost.
 */
const FACTOR = { lapsed: 1.5, kept: 0.986, most: 6 }

/** Turns that lapse within that time do so by one stall of the event loop. */
const ONE_STALL_MS = 50

/** How many turns a run can use that are still to come, by how long its handlers take, and how long a turn has to last. */
export class TurnsAhead {
  readonly #concurrency: number
  #handlerMs: number | undefined
  #lapsedAt = Number.NEGATIVE_INFINITY
  #factor = 1

  constructor(concurrency: number) {
    this.#concurrency = concurrency
  }

  /** Beside those that there is room for now. */
  get count(): number {
    if (this.#handlerMs === undefined) return 0
    return Math.min(MOST, Math.floor((this.#concurrency * AHEAD_MS) / Math.max(1, this.#handlerMs)))
  }

  /** By how much longer a turn lasts than it would. */
  get lateFactor(): number {
    return this.#factor
  }

  /** A handler ended. */
  took(ms: number): void {
    this.#handlerMs = this.#handlerMs === undefined ? ms : this.#handlerMs * 0.8 + ms * 0.2
  }

  /** A turn was not used in its time. */
  lapsed(now: number): void {
    if (now < this.#lapsedAt + ONE_STALL_MS) return
    this.#lapsedAt = now
    this.#factor = Math.min(FACTOR.most, this.#factor * FACTOR.lapsed)
  }

  kept(): void {
    this.#factor = Math.max(1, this.#factor * FACTOR.kept)
  }
}
