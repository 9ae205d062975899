import { isoOf } from '../shared/time.ts'

/**
 * When the stream took an entry, by the server's clock. What a producer says of the time may be anything: a key named by it could be any key.
 *
 * @throws {RangeError} An id that somebody made up, beyond every date.
 */
export function entryTime(entryId: string): string {
  return isoOf(Number(entryId.split('-')[0]))
}

/** As `2026-11-29`. */
export const dayOf = (entryId: string): string => entryTime(entryId).slice(0, 10)

/** As `2026-11-29T16:51`. */
export const minuteOf = (entryId: string): string => entryTime(entryId).slice(0, 16)
