import { splitIntoChunks } from '../../core/chunks.ts'
import { compareEntryIds } from '../../core/entry.ts'
import { MAX_XACK_IDS } from './commands/xack.ts'

/** Ids that one command takes, and the part of all ids that is theirs. */
export interface IdRange {
  /** Inclusive, or exclusive after a `(`. */
  readonly from: string
  readonly to: string
  readonly ids: readonly string[]
}

/** Cuts ids into as many ranges as there must be commands, at least one; together they cover every id there is. */
export function splitIntoIdRanges(ids: readonly string[]): IdRange[] {
  if (ids.length <= MAX_XACK_IDS) return [{ from: '-', to: '+', ids }]
  const chunks = splitIntoChunks(ids.toSorted(compareEntryIds), MAX_XACK_IDS)
  return chunks.map((chunk, n) => ({
    from: n === 0 ? '-' : `(${chunks[n - 1]?.at(-1)}`,
    to: n === chunks.length - 1 ? '+' : (chunk.at(-1) as string),
    ids: chunk,
  }))
}
