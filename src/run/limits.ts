import type { Consumer } from '../consumer.ts'
import type { ConsumerSettings } from '../consumer-settings.ts'
import { DEFAULT_MAX_PENDING } from '../consumer-settings.ts'
import { cannot } from '../core/options.ts'
import { quoted } from '../core/quoted.ts'
import type { Connection } from '../group/group.ts'

/**
 * A consumer's settings on a connection whose server lets a consumer name have only so many pending entries: it refuses reads beyond them, and
 * what failed is pending under one name. A `maxPending` that nobody chose becomes that many.
 *
 * @throws {RangeError} A setting above it; the message names both.
 */
export function settingsWithin(
  action: string,
  { group, routes }: Consumer,
  settings: ConsumerSettings,
  { maxPendingPerName: most = Infinity }: Connection,
): ConsumerSettings {
  const maxPending =
    settings.maxPending === DEFAULT_MAX_PENDING ? Math.min(most, DEFAULT_MAX_PENDING) : settings.maxPending
  const chosen: [name: string, value: number][] = [
    ['batchSize', settings.batchSize],
    ['maxPending', maxPending],
    ...[...routes.values()].flatMap(({ event, batching }): [string, number][] =>
      batching?.limits && batching.limits.maxBatchingWindowMs > 0
        ? [[`maxEvents of ${quoted(event.type)}, which waits for others,`, batching.limits.maxEvents]]
        : [],
    ),
  ]
  for (const [name, value] of chosen) {
    if (value > most) {
      const rule = `${name} must be <= ${most} over this connection, got ${value}: the service lets a consumer have no more pending entries`
      throw cannot(`${action} for group ${quoted(group)}`, rule, RangeError)
    }
  }
  return maxPending === settings.maxPending ? settings : { ...settings, maxPending }
}
