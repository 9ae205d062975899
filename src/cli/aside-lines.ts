import { formatCount, formatDuration, formatNumber } from '../core/words.ts'
import type {
  AsideInspection,
  ConditionInspection,
  TimedInspection,
  TimedSample,
} from '../operate/inspect/inspection.ts'
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

function timedLines({ entries, due, nextDueInMs, running, handedBack, sample }: TimedInspection): string[] {
  const lines: string[] = []
  if (entries > 0) {
    const next =
      nextDueInMs === undefined
        ? ''
        : nextDueInMs > 0
          ? `, the next in ${formatDuration(nextDueInMs)}`
          : sinceText(nextDueInMs)
    lines.push(
      `for a time  ${formatNumber(entries)}, ${formatNumber(due)} due now${next}`,
      ...reasonLines(handedBack, sample, entries - handedBack),
    )
  }
  if (running > 0) lines.push(`taken, and in hand  ${formatNumber(running)}`)
  return lines
}

/** Why they wait. */
function reasonLines(handedBack: number, sample: TimedSample | undefined, waiting: number): string[] {
  const { sampled = 0, atNoDelivery = 0, oldestAgeMs } = sample ?? {}
  const of = sampled < waiting ? ` of the first ${formatNumber(sampled)}` : ''
  const age = oldestAgeMs === undefined ? '' : `, the oldest published ${formatDuration(oldestAgeMs)} ago`
  const lines: string[] = []
  if (handedBack > 0) lines.push(`handed back  ${formatNumber(handedBack)}`)
  if (atNoDelivery > 0) lines.push(`turn or place  ${formatNumber(atNoDelivery)}${of}${age}`)
  if (sampled > atNoDelivery) lines.push(`retry  ${formatNumber(sampled - atNoDelivery)}${of}`)
  return lines.map((line) => `  ${line}`)
}

function sinceText(nextDueInMs: number): string {
  return `, the first for ${formatDuration(-nextDueInMs)}`
}

function conditionText({ reason, what, entries, oldestAgeMs }: ConditionInspection): string {
  const age = oldestAgeMs === undefined ? '' : `, the oldest published ${formatDuration(oldestAgeMs)} ago`
  return `  ${printable(`${reason} ${what}`)}  ${formatNumber(entries)}${age}`
}
