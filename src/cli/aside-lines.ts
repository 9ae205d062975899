import { formatCount, formatDuration, formatNumber } from '../core/words.ts'
import type { AsideInspection, ConditionInspection, TimedInspection } from '../operate/inspect/inspection.ts'
import { printable } from './text/printable.ts'

/** Conditions that are shown; --json has all that were inspected. */
const MOST = 20

/** When what is set aside comes back, as lines for a terminal; none where nothing is. */
export function asideLines({ byTime, byCondition }: AsideInspection): string[] {
  const lines = byTime ? timedLines(byTime) : []
  if (!byCondition || byCondition.entries === 0) return lines
  const { entries, conditions } = byCondition
  const shown = conditions.toSorted((a, b) => b.entries - a.entries).slice(0, MOST)
  const more = conditions.length > MOST ? [`  and ${formatCount(conditions.length - MOST, 'more condition')}`] : []
  return [...lines, `for a condition  ${formatNumber(entries)}`, ...shown.map(conditionText), ...more]
}

function timedLines({ entries, due, nextDueInMs, running }: TimedInspection): string[] {
  const lines: string[] = []
  if (entries > 0) {
    const next =
      nextDueInMs === undefined
        ? ''
        : nextDueInMs > 0
          ? `, the next in ${formatDuration(nextDueInMs)}`
          : sinceText(nextDueInMs)
    lines.push(`for a time  ${formatNumber(entries)}, ${formatNumber(due)} due now${next}`)
  }
  if (running > 0) lines.push(`taken, and in hand  ${formatNumber(running)}`)
  return lines
}

function sinceText(nextDueInMs: number): string {
  return `, the first for ${formatDuration(-nextDueInMs)}`
}

function conditionText({ reason, what, entries, oldestAgeMs }: ConditionInspection): string {
  const age = oldestAgeMs === undefined ? '' : `, the oldest published ${formatDuration(oldestAgeMs)} ago`
  return `  ${printable(`${reason} ${what}`)}  ${formatNumber(entries)}${age}`
}
