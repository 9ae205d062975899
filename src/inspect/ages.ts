import { parseEntryId } from '../core/entry.ts'

/** Milliseconds since an entry was written, by its id; never negative. */
export function ageOf(entryId: string, at: number): number
export function ageOf(entryId: string | undefined, at: number): number | undefined
export function ageOf(entryId: string | undefined, at: number): number | undefined {
  return entryId === undefined ? undefined : Math.max(0, at - Number(parseEntryId(entryId).ms))
}
