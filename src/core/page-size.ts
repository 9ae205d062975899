import type { Entry } from './entry.ts'
import { entryBytes } from './entry.ts'

/** The bytes that a page should have, the entries it has at most, and those of the first one, of which nothing is known. */
const PAGE = { bytes: 4 * 1024 * 1024, entries: 100, first: 10 }

/** How many entries of a stream to ask for: as many as would fit into a page if all were as large as the largest one seen. */
export class AdaptivePageSize {
  count = PAGE.first
  #largest = 1

  /** Takes in what a page had. */
  saw(entries: readonly Entry[]): void {
    for (const { fields } of entries) this.#largest = Math.max(this.#largest, entryBytes(fields))
    this.count = Math.min(PAGE.entries, Math.max(1, Math.floor(PAGE.bytes / this.#largest)))
  }
}
