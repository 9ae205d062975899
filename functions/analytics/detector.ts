import { randomUUID } from 'node:crypto'
import type { Ask } from '../shared/ask.ts'
import { readProgress } from '../shared/progress.ts'
import { DAY_MS, HOUR_MS, isoOf, startOf, startsOf } from '../shared/time.ts'
import { judge, median } from './anomalies.ts'
import { dashboard } from './consumer.ts'
import type { Measure, Minutes } from './windows.ts'
import { ALLOWED_LATENESS_MS, keys, minutesOf, SLICE_MS, sumOf, sumsQuestion } from './windows.ts'

const WATCHED = ['views', 'purchases', 'cents'] as const
/** Days whose same hour is compared with. */
const PAST_DAYS = 7
/** An episode is over once so many windows in a row were as usual. */
const QUIET_SLICES = 6
/** Episodes that began in so many windows are checked again: what was not sent is. */
const RECENT_SLICES = 12
/** How long who sends an alert may take: longer than the function may run, so that nobody else sends it meanwhile. */
const CLAIM_MS = 60_000
const SENT_LIFE_MS = 9 * DAY_MS

/** What was unusual in the window in which an episode began. */
export interface Alert {
  /** Start of the window, ISO 8601. */
  readonly at: string
  readonly windowMs: number
  readonly measures: Readonly<Record<string, { readonly value: number; readonly expected: number; readonly z: number }>>
}

/** Sends an alert, or throws. */
type Send = (alert: Alert) => Promise<void>

/**
 * Looks whether an episode of unusual windows has begun, and sends an alert of each once.
 *
 * Windows that are closed do not change, so that every pass judges them alike, however many run side by side. Who sends an alert claims it first, for a minute. If it dies before the
 * alert is noted as sent, a later pass sends it: for the second time, if it died between the topic and the note.
 *
 * @param now Milliseconds since 1970.
 * @returns Alerts sent, and until when all that was published is counted; nothing while there is no group.
 */
export async function detect(ask: Ask, send: Send, now: number): Promise<{ sent: Alert[]; countedUntil?: number }> {
  // a backlog is no drop, and holds windows open; silence is one
  const countedUntil = await readProgress(ask, dashboard, now)
  if (countedUntil === undefined) return { sent: [] }
  const end = startOf(countedUntil - ALLOWED_LATENESS_MS, SLICE_MS)
  const [checked] = await ask([['GET', keys.checked]])
  // a day at most, after passes that were missed or failed
  const from = Math.max(end - DAY_MS, Math.min(end, Number(checked)) - RECENT_SLICES * SLICE_MS)
  const slices = startsOf(from - QUIET_SLICES * SLICE_MS, end, SLICE_MS)
  const days = Array.from({ length: PAST_DAYS + 1 }, (_, day) => day * DAY_MS)
  const hours = startsOf(slices[0] as number, end, HOUR_MS).flatMap((hour) => days.map((ms) => hour - ms))
  const minutes = minutesOf(hours, await ask(hours.map(sumsQuestion)))
  const unusual = slices.map((at) => alertOf(at, minutes))
  const sent: Alert[] = []
  for (const [n, alert] of unusual.entries()) {
    const isBeginning = n >= QUIET_SLICES && !unusual.slice(n - QUIET_SLICES, n).some((before) => before)
    if (alert && isBeginning && (await sendOnce(alert, ask, send))) sent.push(alert)
  }
  await ask([['SET', keys.checked, Math.max(end, Number(checked)), 'PX', SENT_LIFE_MS]])
  return { sent, countedUntil }
}

/** What is unusual in a window, against all windows of its hour on the days before; a day on which nothing was counted in that hour is none to compare with. */
function alertOf(at: number, minutes: Minutes): Alert | undefined {
  const valueIn = (measure: Measure, ms: number) => Number(sumOf(minutes, measure, ms, ms + SLICE_MS))
  const past = Array.from({ length: PAST_DAYS }, (_, day) => startOf(at, HOUR_MS) - (day + 1) * DAY_MS)
    .map((hour) => startsOf(hour, hour + HOUR_MS, SLICE_MS))
    .filter((slices) => slices.some((ms) => WATCHED.some((measure) => valueIn(measure, ms) > 0)))
    .flat()
  const price = median(past.map((ms) => valueIn('cents', ms) / valueIn('purchases', ms)).filter(Number.isFinite))
  const found = WATCHED.flatMap((measure) => {
    // revenue is compared as a count of purchases of the usual price
    const unit = measure === 'cents' ? price : 1
    const countIn = (ms: number) => valueIn(measure, ms) / unit
    const value = valueIn(measure, at)
    const verdict = judge(countIn(at), past.map(countIn))
    if (!verdict?.isAnomaly || Number.isNaN(unit)) return []
    return [[measure, { value, expected: Math.round(verdict.expected * unit), z: verdict.z }] as const]
  })
  if (found.length === 0) return undefined
  return { at: isoOf(at), windowMs: SLICE_MS, measures: Object.fromEntries(found) }
}

export const subjectOf = ({ at, measures }: Alert) => `Unusual ${Object.keys(measures).join(', ')} at ${at}`

/** @returns Whether this pass sent it. */
async function sendOnce(alert: Alert, ask: Ask, send: Send): Promise<boolean> {
  const at = Date.parse(alert.at)
  const [claimed] = await ask([['SET', keys.alert(at), randomUUID(), 'NX', 'PX', CLAIM_MS]])
  if (claimed === null) return false
  await send(alert)
  await ask([
    ['SET', keys.alert(at), 'sent', 'PX', SENT_LIFE_MS],
    ['HSET', keys.anomalies(at), alert.at, JSON.stringify(alert)],
    ['PEXPIRE', keys.anomalies(at), SENT_LIFE_MS],
  ])
  return true
}
