import { formatCount, formatDuration, formatNumber } from '../core/words.ts'
import type { DelaysInspection } from '../operate/inspect/inspection.ts'
import type { Paint } from './text/text.ts'

/** From so long on, what is due and not promoted is marked: a poller that is woken once a minute promotes sooner. */
const OVERDUE_MS = 2 * 60_000

/** What is delayed, as lines for a terminal; none where nothing is. */
export function delayLines(delays: DelaysInspection | undefined, colour: Paint): string[] {
  if (!delays) return []
  const { events, nextDueInMs, unreadable } = delays
  const lines: string[] = []
  if (nextDueInMs !== undefined) {
    const next =
      nextDueInMs > 0 ? `the next in ${formatDuration(nextDueInMs)}` : `overdue for ${formatDuration(-nextDueInMs)}`
    const line = `delayed  ${formatNumber(events)}, ${next}`
    lines.push(nextDueInMs < -OVERDUE_MS ? colour('yellow', line) : line)
  }
  if (unreadable > 0) lines.push(colour('red', `! ${formatCount(unreadable, 'delayed event')} cannot be read`))
  return lines
}
