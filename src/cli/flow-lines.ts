import { formatDuration, formatNumber } from '../core/words.ts'
import type {
  BreakerInspection,
  FlowInspection,
  GroupInspection,
  LimitInspection,
} from '../operate/inspect/inspection.ts'
import { printableName } from './text/printable.ts'

/** From so long on, a line is a note. The alarms of a deployment go off there, too. */
const LONG_LINE_MS = 15 * 60_000

/** The limits of a group, as lines for a terminal; those that nobody uses now are left out. */
export function flowLines({ limits }: FlowInspection): string[] {
  return limits.filter(isUsed).map((limit) => `${limitName(limit)}  ${stateOf(limit)}`)
}

/** What of it needs a look: circuit breakers that are open, and lines that are long. */
export function flowNotes({ group, flow }: GroupInspection): string[] {
  if (!flow) return []
  const { breakers = [], limits } = flow
  return [
    ...breakers.map(breakerText),
    ...limits.filter(({ lineMs }) => lineMs >= LONG_LINE_MS).map((limit) => `${limitName(limit)}: ${lineText(limit)}`),
  ].map((note) => `${printableName(group)}: ${note}`)
}

function isUsed({ nextTurnInMs = 0, held = 0, lineMs }: LimitInspection): boolean {
  return nextTurnInMs > 0 || held > 0 || lineMs > 0
}

function breakerText({ eventType, openMs, nextProbeInMs, probe, error, waiting }: BreakerInspection): string {
  const next =
    probe !== undefined
      ? `${probe.entryId} probes it`
      : nextProbeInMs > 0
        ? `the next probe in ${formatDuration(nextProbeInMs)}`
        : `a probe due for ${formatDuration(-nextProbeInMs)}`
  const parts = [
    `circuit breaker of ${printableName(eventType)} open for ${formatDuration(openMs)}`,
    next,
    waiting === undefined ? undefined : `${formatNumber(waiting)} wait for it`,
    error === '' ? undefined : `last error ${printableName(error)}`,
  ]
  return parts.filter((part) => part !== undefined).join(', ')
}

function limitName({ policy, eventType, max, perMs }: LimitInspection): string {
  const of = eventType === undefined ? '' : ` of ${printableName(eventType)}`
  const most = perMs === undefined ? `${formatNumber(max)} at once` : `${formatNumber(max)} per ${windowText(perMs)}`
  return `${policy}${of}, ${most}`
}

function windowText(ms: number): string {
  return ms < 1_000 ? `${ms}ms` : formatDuration(ms)
}

function stateOf(limit: LimitInspection): string {
  const { nextTurnInMs, held, meanHoldMs, max, lineMs } = limit
  const parts = [
    nextTurnInMs === undefined ? undefined : `the next free turn in ${formatDuration(nextTurnInMs)}`,
    held === undefined ? undefined : `${formatNumber(held)} of ${formatNumber(max)} places held`,
    meanHoldMs === undefined ? undefined : `for ${formatNumber(meanHoldMs)} ms each`,
    lineMs > 0 ? lineText(limit) : undefined,
  ]
  return parts.filter((part) => part !== undefined).join(', ')
}

function lineText({ waiting, lineMs }: LimitInspection): string {
  return `about ${formatNumber(waiting)} wait in line, the last for ${formatDuration(lineMs)} from now`
}
