import { CLAIM_PAGE_LIMITS } from '../../group/redis/scripts/claim-page.ts'

/** While its handlers take no longer than so many requests, the next of what is due is taken meanwhile, and no page becomes smaller; while they take half of that, it grows. */
const AHEAD_REQUESTS = 10

/** What was taken waits no longer than so many milliseconds, however slow requests are: what is due has to start soon. */
const LONGEST_AHEAD_MS = 200

/**
 * How many entries a request may start. Counts should rise when handlers start, so at first a request starts no more than run side by side; as
 * long as handlers take no longer than some requests, twice as many each time, up to a page.
 */
export class StartPace {
  readonly #slowest: number
  #entries: number
  /** Milliseconds of the shortest request that was waited for. */
  #requestMs = Infinity

  constructor(concurrency: number) {
    this.#slowest = concurrency
    this.#entries = concurrency
  }

  get entries(): number {
    return this.#entries
  }

  /** @param ms What a request took that was waited for. */
  waited(ms: number): void {
    this.#requestMs = Math.min(this.#requestMs, ms)
  }

  /** @param handlersMs What all handlers of the last request took; `undefined` if some still run. */
  note(handlersMs = Infinity): void {
    const ratio = handlersMs / this.#aheadMs
    const entries = this.#entries * (ratio > 1 ? 1 / 2 : ratio > 1 / 2 ? 1 : 2)
    this.#entries = Math.max(this.#slowest, Math.min(CLAIM_PAGE_LIMITS.finds, Math.floor(entries)))
  }

  /** Whether handlers that take as long leave the run waiting for requests. */
  isQuick(handlersMs: number): boolean {
    return handlersMs <= this.#aheadMs
  }

  get #aheadMs(): number {
    return Math.min(LONGEST_AHEAD_MS, this.#requestMs * AHEAD_REQUESTS)
  }
}
