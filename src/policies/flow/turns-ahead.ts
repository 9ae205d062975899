/** For how long a run reserves turns ahead of their time. */
const AHEAD_MS = 250

/** Turns ahead, at most. */
const MOST = 500

/** So many turns that lapsed in a row make the next ones last longer. */
const LAPSES = 3

/** So many that did not lapse make them last shorter again. */
const KEPT = 200

/** How many turns a run can use that are still to come, by how long its handlers take, and how long a turn has to last. */
export class TurnsAhead {
  readonly #concurrency: number
  #handlerMs: number | undefined
  #lapses = 0
  #kept = 0
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
  lapsed(): void {
    this.#lapses++
    this.#kept = 0
    if (this.#lapses < LAPSES) return
    this.#factor = Math.min(16, this.#factor * 2)
    this.#lapses = 0
  }

  kept(): void {
    this.#lapses = 0
    this.#kept++
    if (this.#kept < KEPT) return
    this.#factor = Math.max(1, this.#factor / 2)
    this.#kept = 0
  }
}
