/** As far as dates go, in milliseconds before and after 1970. */
const LAST_MS = 8.64e15

/**
 * Milliseconds since 1970 as ISO 8601, whatever a clock or an entry's id says: beyond the last date there is it is that one, and 1970 for
 * what is no number.
 */
export function isoTime(ms: number): string {
  return new Date(Math.min(Math.max(ms || 0, -LAST_MS), LAST_MS)).toISOString()
}
