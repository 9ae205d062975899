import { compareEntryIds } from './entry.ts'

/** Where a lap through the pending entries starts, and is again once it is over. */
const START = '0-0'

/** A place in a lap, which goes from name to name and through the ids that each holds: after that entry. `5-0 poller-1`. */
export function formatLapCursor(
  entry: { readonly id: string; readonly from: { readonly owner: string } } | undefined,
): string {
  return entry ? `${entry.id} ${entry.from.owner}` : START
}

/** Negative if `a` comes before `b` in a lap. Names are compared as bytes, as the server has them. */
export function compareLapCursors(a: string, b: string): number {
  const left = parsed(a)
  const right = parsed(b)
  return Buffer.compare(Buffer.from(left.name), Buffer.from(right.name)) || compareEntryIds(left.id, right.id)
}

function parsed(cursor: string): { readonly id: string; readonly name: string } {
  const space = cursor.indexOf(' ')
  return space < 0 ? { id: START, name: '' } : { id: cursor.slice(0, space), name: cursor.slice(space + 1) }
}
