import type { Entry } from '../../core/entry.ts'
import { entryBytes } from '../../core/entry.ts'

/** The bytes that a page may have, the entries it has at most, and those of the first one, of which nothing is known. */
const PAGE = { bytes: 4 * 1_024 * 1_024, entries: 100, first: 10 }

/**
 * How many entries to ask for: as many as fit into 4 MB if all were as large as the largest one of late, 100 at most, and no more than twice as many as
 * before. A server answers a page as a whole, and counts no bytes: where entries become larger all at once, the first such page has up to 100 of them.
 */
export class RecentPageSize {
  count = PAGE.first
  #largest = 1

  /** Takes in what a page had. What was large is forgotten within some pages. */
  saw(entries: readonly Entry[]): void {
    let largest = this.#largest / 2
    for (const { fields } of entries) largest = Math.max(largest, entryBytes(fields))
    this.#largest = Math.max(1, largest)
    const fitting = Math.max(1, Math.floor(PAGE.bytes / this.#largest))
    this.count = Math.min(PAGE.entries, fitting, this.count * 2)
  }

  /** An answer was too large, or did not come in time: what follows is asked for one by one, and grows again. */
  shrink(): void {
    this.count = 1
    this.#largest = PAGE.bytes
  }
}
