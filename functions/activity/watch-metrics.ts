import type { EventOf, HandlerContext } from 'millrace'
import { effects } from 'millrace'
import type { MetricSampled } from '../events/activity.ts'
import { dayOf, minuteOf } from './entry-time.ts'

/** Above which value a metric is an alarm. One that is not named here is not watched. */
export const THRESHOLDS: Readonly<Record<string, number>> = { cpu: 0.9, memory: 0.95, disk: 0.85, queue_depth: 1_000 }

/** Hosts kept of a metric and minute: anybody may write any host. Those with the highest values stay. */
export const MAX_HOSTS = 500

const PEAKS_KEPT_MS = 3_600_000
const ALARMS_KEPT_MS = 35 * 86_400_000

export const isWatched = ({ payload }: EventOf<typeof MetricSampled>): boolean =>
  Object.hasOwn(THRESHOLDS, payload.name)

/**
 * Keeps the highest value of each host in each minute, so that the newest minute is how things are; and counts what was above its threshold. A minute's highest is
 * the same in whatever order its samples come, and a host that is gone has no place in the next minute.
 */
export function watchMetric({ payload }: EventOf<typeof MetricSampled>, context: HandlerContext): void {
  const { host, name } = payload
  const value = Number(payload.value)
  const together = effects(context)
  const peaks = together.key(`peaks:${name}:${minuteOf(context.entryId)}`)
  together
    .addToSortedSet(peaks, host, value, { if: 'greater' })
    .keepHighest(peaks, MAX_HOSTS)
    .expire(peaks, PEAKS_KEPT_MS)
  if (value <= (THRESHOLDS[name] as number)) return
  const alarms = together.key(`alarms:${dayOf(context.entryId)}`)
  together.incrementField(alarms, name).expire(alarms, ALARMS_KEPT_MS)
}
