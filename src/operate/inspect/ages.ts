import { parseEntryId } from '../../core/entry.ts'

/** Milliseconds since an entry was written, by its id; `undefined` where there is none, or its id is ahead of the server's clock. */
export function ageOfEntryIfKnown(entryId: string | undefined, at: number): number | undefined {
  const ageMs = entryId === undefined ? -1 : at - Number(parseEntryId(entryId).ms)
  return ageMs < 0 ? undefined : ageMs
}
