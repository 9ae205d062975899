import { CLAIM_PAGE_LIMITS } from '../../group/redis/scripts/claim-page.ts'

/**
 * How many entries a request may start. Counts should rise when handlers start, so at first a request starts no more than run side by side; as
 * long as handlers take less time than the requests between them, twice as many each time, up to a page.
 */
export class StartPace {
  readonly #slowest: number
  #entries: number

  constructor(concurrency: number) {
    this.#slowest = concurrency
    this.#entries = concurrency
  }

  get entries(): number {
    return this.#entries
  }

  /** @param requestMs What the last request took. @param handlersMs What all its handlers took; `undefined` if some still run. */
  note(requestMs: number, handlersMs: number | undefined): void {
    const isFast = handlersMs !== undefined && handlersMs < requestMs
    const entries = isFast ? Math.min(CLAIM_PAGE_LIMITS.finds, this.#entries * 2) : Math.floor(this.#entries / 2)
    this.#entries = Math.max(this.#slowest, entries)
  }
}
