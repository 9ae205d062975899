import { compareEntryIds } from '../../core/entry.ts'
import type { StreamInfo } from '../../group/redis/commands/xinfo-stream.ts'

/** Entries beyond a group that are counted one by one; of more, the server is asked. */
export const MAX_COUNTED_LAG = 10

/** Exact, at least that many, or neither. */
export interface GroupLag {
  readonly lag?: number
  readonly lagAtLeast?: number
  /** Why it is not exact. */
  readonly reason?: string
}

/**
 * The lag that the ends of a stream show: 0 where nothing is beyond the group, everything where nothing is behind it; `undefined` where only
 * counting helps.
 */
export function lagFromStreamEnds(
  lastDeliveredId: string,
  { length, firstId, lastId }: StreamInfo,
): number | undefined {
  if (firstId === undefined || lastId === undefined) return length === 0 ? 0 : undefined
  if (compareEntryIds(lastId, lastDeliveredId) <= 0) return 0
  return compareEntryIds(firstId, lastDeliveredId) > 0 ? length : undefined
}

/**
 * The lag of a group in mid-stream.
 *
 * @param counted Entries found beyond it, `COUNTED` at most; `undefined` if that was refused.
 * @param reported What the server says, which knows nothing before 7.0 and after deletions, and may be wrong.
 * @param length Entries in the stream, if known: of a group in mid-stream, at least one is behind it.
 */
export function lagFromCount(
  counted: number | undefined,
  reported: number | undefined,
  length: number | undefined,
): GroupLag {
  if (counted !== undefined && counted < MAX_COUNTED_LAG) return { lag: counted }
  // what is known to be beyond it, since the ends of the stream have shown that something is
  const atLeast = counted ?? (length === undefined ? 0 : 1)
  if (reported !== undefined && reported > 0 && reported >= atLeast)
    return { lag: Math.max(atLeast, length === undefined ? reported : Math.min(reported, length - 1)) }
  const reason =
    'the server lost count: it is older than 7.0, entries were deleted, or the group was made in mid-stream'
  return atLeast > 0 ? { lagAtLeast: atLeast, reason } : { reason }
}
