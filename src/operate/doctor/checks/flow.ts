import type { OpenBreaker } from '../../../core/gates.ts'
import { timeText } from '../../../core/pauses.ts'
import { formatCount, formatDurationRoughly, formatNumber } from '../../../core/words.ts'
import { quotedValue } from '../../../errors.ts'
import type { StreamInfo } from '../../../group/redis/commands/xinfo-stream.ts'
import { flowOf } from '../../flow/consumer-limits.ts'
import { msBetweenTurns } from '../../flow/limit-state.ts'
import type { LimitInspection } from '../../inspect/inspection.ts'
import { type CheckSubject, defineCheck } from '../check.ts'
import type { CheckResult } from '../finding.ts'
import { errorResult, infoResult, warningResult } from '../finding.ts'
import { quoteForShell } from '../text.ts'

/** How long a probe that may start may take to do so: claimers come once a minute. */
const PATIENCE_MS = 300_000

/** From so long on a circuit breaker does not close by itself, unless it is probed that seldom. */
const LONG_OPEN_MS = 3_600_000
const MANY_PROBES = 10

/** From so long on entries wait too long for a turn; the alarm on the oldest pending entry goes off there, too. */
const LONG_WAIT_MS = 15 * 60_000
/** No line for places is longer than five minutes. */
const LONG_LINE_FOR_PLACES_MS = 60_000

/** Shorter streams say nothing of a rate. */
const ENOUGH = 100

/** Circuit breakers that are open: each must be probed, and close. */
export const breakerCheck = defineCheck({
  check: 'circuit-breaker',
  scope: 'group',
  needs: ['breakers'],
  look({ breakers }, subject) {
    return breakers.map((breaker) => verdictOn(breaker, subject))
  },
})

function verdictOn(breaker: OpenBreaker, { now, stream, group, consumer }: CheckSubject): CheckResult {
  const { eventType, openedAt, probeAt, probe, probeUntil = 0, error } = breaker
  const openMs = Math.max(0, now - openedAt)
  const last = error === '' ? '' : `; the last error was ${quotedValue(error)}`
  const seen = `The circuit breaker of ${quotedValue(eventType)} has been open for ${formatDurationRoughly(openMs)}, since ${timeText(openedAt)}${last}`
  const set = consumer?.set
  const where = quoteForShell(set?.name ?? stream)
  const priorities = set ? ` --priorities ${set.priorities.join(',')}` : ''
  const close = `millrace resume ${where} ${quoteForShell(group)} --breaker --type ${quoteForShell(eventType)}${priorities}`
  const { probeAfterMs } = consumer ? flowOf(consumer) : { probeAfterMs: undefined }
  const after = probeAfterMs?.[eventType] ?? probeAfterMs?.['']
  if (probeAfterMs && after === undefined)
    return warningResult(`${seen}; this consumer has no circuitBreaker for it: nobody probes or closes it`, close)
  const isProbed = probe !== undefined && probeUntil > now
  if (!isProbed && now - probeAt > PATIENCE_MS)
    return errorResult(
      `${seen}. Nobody probes it: a probe has been due for ${formatDurationRoughly(now - probeAt)}`,
      'see that the claimer is scheduled and succeeds, unless nothing waits for it any more; an event of the type that is read, or claimed, probes it',
    )
  if (openMs > Math.max(LONG_OPEN_MS, MANY_PROBES * (after ?? 0)))
    return warningResult(
      `${seen}: no probe has succeeded`,
      `fix what its handler calls; once that works, or to try all at once: ${close}`,
    )
  return infoResult(seen, `nothing, if what its handler calls comes back: a probe closes it; by hand: ${close}`)
}

/** A rate must be above what arrives: else the line grows until what is set aside reaches `maxParked`. */
export const rateLimitCheck = defineCheck({
  check: 'rate-limit',
  scope: 'group',
  needs: ['limits', 'stream'],
  isFor: hasLimits,
  look({ limits, stream }, { consumer }) {
    const isOfAll = ({ eventType }: LimitInspection) => eventType === undefined || consumer?.routes.size === 1
    const arrival = typeof stream === 'string' ? undefined : arrivalsPerSecond(stream)
    return limits.flatMap((limit) => rateResult(limit, isOfAll(limit) ? arrival : undefined) ?? [])
  },
})

/** @param arrival Events of the limit a second; `undefined`: not known. */
function rateResult(limit: LimitInspection, arrival: number | undefined): CheckResult | undefined {
  const { max, perMs, lineMs, waiting } = limit
  if (perMs === undefined) return undefined
  const perSecond = 1_000 / msBetweenTurns(max, perMs)
  const name = `rateLimit${ofType(limit)}, ${formatNumber(max)} per ${formatDurationRoughly(perMs)}`
  const fix =
    'raise max if what the handler calls allows it; else publish less, or let what is too old expire by maxAgeMs (millrace plan --backlog says how long a backlog takes)'
  const isLong = lineMs >= Math.max(LONG_WAIT_MS, 2 * perMs)
  const line = `about ${formatCount(waiting, 'entry waits', 'entries wait')} in line, the last for ${formatDurationRoughly(lineMs)} from now`
  if (arrival !== undefined && arrival > perSecond)
    return warningResult(
      `${name}, starts ${formatNumber(perSecond)} a second, and ${formatNumber(arrival)} a second arrived while the stream filled${isLong ? `: ${line}` : ''}`,
      fix,
    )
  return isLong ? warningResult(`${name}: ${line}`, fix) : undefined
}

function arrivalsPerSecond({ length, firstId, lastId }: StreamInfo): number | undefined {
  if (length < ENOUGH || firstId === undefined || lastId === undefined) return undefined
  const ms = Number.parseInt(lastId, 10) - Number.parseInt(firstId, 10)
  return ms > 0 ? (1_000 * (length - 1)) / ms : undefined
}

/** What waits for a turn, or a place, must come to it. */
export const starvedCheck = defineCheck({
  check: 'starved',
  scope: 'group',
  needs: ['limits', 'byTime'],
  isFor: hasLimits,
  look({ limits, byTime: { sample, entries } }) {
    const full = limits.flatMap((limit) => placesResult(limit) ?? [])
    if (full.length > 0) return full
    const { sampled = 0, atNoDelivery = 0, oldestAgeMs = 0 } = sample ?? {}
    if (atNoDelivery === 0 || oldestAgeMs < LONG_WAIT_MS) return []
    const of = sampled < entries ? `Of the first ${formatNumber(sampled)} that are set aside for a time, ` : ''
    return [
      warningResult(
        `${of}${formatCount(atNoDelivery, 'entry waits', 'entries wait')} at no delivery, for a turn or a place, the oldest published ${formatDurationRoughly(oldestAgeMs)} ago`,
        'see that the claimer runs; then raise max of the limit, or of the name that `by` gives them: millrace status MODULE --details shows lines of limits without `by`',
      ),
    ]
  },
})

function placesResult(limit: LimitInspection): CheckResult | undefined {
  const { max, perMs, held = 0, meanHoldMs, lineMs, waiting } = limit
  if (perMs !== undefined || held < max || lineMs < LONG_LINE_FOR_PLACES_MS) return undefined
  const hold = meanHoldMs === undefined ? '' : `, for ${formatNumber(meanHoldMs)} ms each of late`
  return warningResult(
    `concurrencyLimit${ofType(limit)}: all of ${formatCount(max, 'place is', 'places are')} held${hold}; about ${formatCount(waiting, 'entry waits', 'entries wait')} in line, the last for ${formatDurationRoughly(lineMs)} from now, or longer`,
    'make the handler faster, or raise max if what it calls allows it',
  )
}

function ofType({ eventType }: LimitInspection): string {
  return eventType === undefined ? '' : ` of ${quotedValue(eventType)}`
}

function hasLimits({ consumer }: CheckSubject): boolean {
  return consumer !== undefined && flowOf(consumer).limits.length > 0
}
