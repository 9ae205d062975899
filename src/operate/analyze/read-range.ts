import type { Entry } from '../../core/entry.ts'
import { untilAborted } from '../until-aborted.ts'
import type { PageReader } from './page-reader.ts'

/** Entries that were read together. */
export interface WeightedEntries {
  readonly entries: readonly Entry[]
  /** How many entries of the range each of them stands for. */
  readonly weight: number
}

/** Yields all entries between two ids, both included, until the signal. While a page is counted, the next one is on its way. */
export async function* readRange(reader: PageReader, from: string, to: string): AsyncGenerator<WeightedEntries> {
  const ask = (start: string) => {
    const page = reader.read(start, to)
    // whoever ends meanwhile does not wait for it
    page.catch(() => {})
    return page
  }
  let next = ask(from)
  for (;;) {
    const page = await untilAborted(next, reader.signal)
    const last = page?.entries.at(-1)
    if (page === undefined || last === undefined) return
    if (!page.isLast) next = ask(`(${last.id}`)
    yield { entries: page.entries, weight: 1 }
    if (page.isLast) return
  }
}
