import { formatDuration, formatNumber } from '../core/words.ts'
import type { Analysis, TimelineAnalysis } from '../operate/analyze/analysis.ts'
import { sparkText } from './text/bars.ts'

/** Characters of a line over time. */
const STEPS = 76

/** Entries per minute, and a line over time. */
export function rateLines({ perMinute, timeline }: Analysis, format: (ms: number) => string): string[] {
  const lines: string[] = []
  if (perMinute) {
    const { mean, p50, p99, max, maxAt } = perMinute
    lines.push(`mean ${formatNumber(mean)}, p50 ${formatNumber(p50)}, p99 ${formatNumber(p99)}`)
    lines.push(`most ${formatNumber(max)}, at ${format(maxAt)}`)
  }
  if (timeline && timeline.counts.length > 1) lines.push(...timelineLines(timeline, format))
  return lines
}

function timelineLines({ startMs, stepMs, counts }: TimelineAnalysis, format: (ms: number) => string): string[] {
  const perStep = Math.ceil(counts.length / STEPS)
  const steps = Array.from({ length: Math.ceil(counts.length / perStep) }, (_, n) =>
    counts.slice(n * perStep, (n + 1) * perStep).reduce((sum, count) => sum + count, 0),
  )
  const widthMs = perStep * stepMs
  const highest = steps.reduce((most, count) => Math.max(most, count), 0)
  return [
    sparkText(steps),
    `from ${format(startMs)}, a step is ${formatDuration(widthMs)}`,
    `the highest has ${formatNumber(highest)}, ${formatNumber((60_000 * highest) / widthMs)} per minute`,
  ]
}
