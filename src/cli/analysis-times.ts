import { formatDuration } from '../core/words.ts'

/** As far as dates go, in milliseconds. */
const LAST_MS = 8.64e15

/** Writes times as a clock in a zone shows them. */
export interface ZonedTimeFormatter {
  /** `2026-01-31 12:00:05`; what is no date as the number that it is. */
  readonly format: (ms: number) => string
  /** When an entry was written, by its id. */
  readonly formatId: (id: string) => string
}

export function zonedTimeFormatter(timeZone: string): ZonedTimeFormatter {
  // Swedish is written as ISO 8601 is, with a space
  const zoned = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'medium' })
  const formatText = (ms: string) => (Number(ms) <= LAST_MS ? zoned.format(Number(ms)) : ms)
  return { format: (ms) => formatText(String(ms)), formatId: (id) => formatText(id.replace(/-.*/, '')) }
}

/** Milliseconds; those below a second by themselves: `350 ms`. */
export function formatMs(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : formatDuration(ms)
}
