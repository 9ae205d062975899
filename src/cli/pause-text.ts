import { type Pause, timeText } from '../core/pauses.ts'
import { formatDuration } from '../core/words.ts'
import { printable, printableName } from './text/printable.ts'

/**
 * Who paused something, since when, until when and why: `by anna 3 min ago, until 2026-01-02T03:00:00.000Z: mail is down`.
 *
 * @param now When it is, in milliseconds since 1970.
 */
export function pauseText({ at, until, by, why }: Pause, now: number): string {
  const who = by === undefined ? '' : `by ${printableName(by)} `
  const end = until === undefined ? '' : `, until ${timeText(until)}`
  return `${who}${formatDuration(Math.max(0, now - at))} ago${end}${why === undefined ? '' : `: ${printable(why)}`}`
}
