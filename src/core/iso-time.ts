/** As far as dates go, in milliseconds before and after 1970. */
const LAST_MS = 8.64e15

/**
 * Milliseconds since 1970 as ISO 8601, whatever a clock or an entry's id says: beyond the last date there is it is that one, and 1970 for
 * what is no number.
 */
export function isoTime(ms: number): string {
  return new Date(Math.min(Math.max(ms || 0, -LAST_MS), LAST_MS)).toISOString()
}

/** Seconds and milliseconds since 1970, as Python's time.time() and JavaScript's Date.now() give them from 2001 to 2286. */
const SECONDS_OR_MS = /^(?:(\d{10})|\d{13})(?:\.\d+)?$/

/** A time that another system wrote: as ISO 8601 where it is a number, otherwise as it stands there. */
export function readTime(text: string): string {
  const found = SECONDS_OR_MS.exec(text)
  return found ? isoTime(Math.round(Number(text) * (found[1] === undefined ? 1 : 1_000))) : text
}

/** Whether a month has such a day, `2026-01-31`: JavaScript takes February 30th for March 2nd. */
export function isDay(day: string): boolean {
  const ms = Date.parse(day)
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(day)
}
