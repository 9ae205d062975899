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

/** 5 s, 20 s, 80 s … 4 h between attempts: some 14 hours for ten. */
export const BACKOFF = { firstMs: 5_000, factor: 4, maxMs: 14_400_000 } as const

/** No sooner than the endpoint asks for, nor than without its asking: ten attempts a second apart would be over in ten seconds. */
export function waitMs(askedMs: number, deliveryCount: number): number {
  return Math.max(askedMs, Math.min(BACKOFF.firstMs * BACKOFF.factor ** (deliveryCount - 1), BACKOFF.maxMs))
}

/** The three ways in which HTTP writes a date, of which the last two are old. */
const DATES = [
  /^\w{3}, (\d\d \w{3} \d{4} \d\d:\d\d:\d\d) GMT$/,
  /^\w{6,9}, (\d\d-\w{3}-\d\d \d\d:\d\d:\d\d) GMT$/,
  /^\w{3} (\w{3} [ \d]\d \d\d:\d\d:\d\d \d{4})$/,
]

/**
 * How long the endpoint wants to be left alone, from a second to a day.
 *
 * @param now Milliseconds since 1970.
 * @returns Nothing where it does not say, or not as HTTP has it: seconds, or a date.
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
 */
export function retryAfterMs({ retryAfter = '' }: Answer, now: number): number | undefined {
  const [date = ''] = DATES.flatMap((format) => format.exec(retryAfter)?.slice(1) ?? [])
  const ms = /^\d+$/.test(retryAfter)
    ? Number(retryAfter) * 1_000
    : Date.parse(`${date.replaceAll('-', ' ')} GMT`) - now
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 1_000), LONGEST_MS)
}
