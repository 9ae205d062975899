import type { Answer } from './post.ts'

/** What becomes of an event: `done`, `retry` later, `refused` for good, or the endpoint is `gone`. */
export type Verdict = 'done' | 'retry' | 'refused' | 'gone'

/** Too slow, too early, too many: what a client should repeat. */
const RETRIED = [408, 425, 429]

/** A redirect is refused: whoever is sent on elsewhere may be sent anywhere. */
export function verdictOf({ status }: Answer): Verdict {
  if (status === 'forbidden') return 'refused'
  if (typeof status === 'string' || status >= 500 || RETRIED.includes(status)) return 'retry'
  if (status === 410) return 'gone'
  return status >= 200 && status < 300 ? 'done' : 'refused'
}

const LONGEST_MS = 86_400_000

/**
 * How long the endpoint wants to be left alone, from a second to a day.
 *
 * @param now Milliseconds since 1970.
 * @returns Nothing where it does not say, or not as HTTP has it: seconds, or a date.
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
 */
export function retryAfterMs({ retryAfter = '' }: Answer, now: number): number | undefined {
  const isDate = /^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/.test(retryAfter)
  const ms = /^\d+$/.test(retryAfter) ? Number(retryAfter) * 1_000 : isDate ? Date.parse(retryAfter) - now : Number.NaN
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 1_000), LONGEST_MS)
}
