export const MINUTE_MS = 60_000
export const HOUR_MS = 60 * MINUTE_MS
export const DAY_MS = 24 * HOUR_MS

/** The start of the window that a time lies in, in milliseconds since 1970. Days are UTC's. */
export const startOf = (ms: number, windowMs: number) => Math.floor(ms / windowMs) * windowMs

/** Starts of all windows between two times, the first one's rounded down, and without the last time. */
export function startsOf(fromMs: number, toMs: number, windowMs: number): number[] {
  const first = startOf(fromMs, windowMs)
  return Array.from({ length: Math.max(0, Math.ceil((toMs - first) / windowMs)) }, (_, n) => first + n * windowMs)
}

const ISO = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)(?:Z|([+-]\d\d)(?::?(\d\d))?)?$/i

/** Milliseconds since 1970 of ISO 8601; NaN for what is no time. Without a zone it is UTC, as Python's `utcnow().isoformat()` means it, wherever this runs. */
export function timeOf(text = ''): number {
  const [, day = '', time = '', hours = '+00', minutes = '00'] = ISO.exec(text) ?? []
  // Date.parse() takes 30 February for 2 March
  if (new Date(day).toJSON()?.slice(0, 10) !== day) return Number.NaN
  return Date.parse(`${day}T${time.replace(',', '.')}${hours}:${minutes}`)
}

export const isoOf = (ms: number) => new Date(ms).toISOString()
