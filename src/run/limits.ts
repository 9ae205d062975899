import { wrongUseError } from '../core/options.ts'
import { CONSUMER_NUMBER_OPTIONS } from '../core/rows.ts'
import type { Consumer } from '../define/consumer.ts'
import type { ConsumerSettings } from '../define/consumer-settings.ts'
import { limitMaxPollers } from '../define/policy.ts'
import { quotedValue } from '../errors.ts'
import type { Connection } from '../group/connection.ts'

/**
 * A consumer's settings as far as its policies and its connection allow: no more pollers than a policy says; and where the server lets a consumer name have
 * only so many pending entries, it refuses reads beyond them, and what failed is pending under one name. A `maxPending` or `maxParked` that nobody chose becomes that many.
 *
 * @param redis Where it is known by now.
 * @throws {RangeError} A setting above it; the message names both.
 */
export function limitSettings(
  action: string,
  { group, routes, policies }: Consumer,
  settings: ConsumerSettings,
  redis: Connection | undefined,
): ConsumerSettings {
  const { maxPendingPerName: most = Infinity } = redis ?? {}
  const within = (name: 'maxPending' | 'maxParked') =>
    settings[name] === CONSUMER_NUMBER_OPTIONS[name].default
      ? Math.min(most, CONSUMER_NUMBER_OPTIONS[name].default)
      : settings[name]
  const maxPending = within('maxPending')
  const maxParked = within('maxParked')
  const chosen: [name: string, value: number][] = [
    ['batchSize', settings.batchSize],
    ['maxPending', maxPending],
    ['maxParked', maxParked],
    ...[...routes.values()].flatMap(({ event, batching }): [string, number][] =>
      batching?.limits && batching.limits.maxBatchingWindowMs > 0
        ? [[`maxEvents of ${quotedValue(event.type)}, which waits for others,`, batching.limits.maxEvents]]
        : [],
    ),
  ]
  for (const [name, value] of chosen) {
    if (value > most) {
      const rule = `${name} must be <= ${most} over this connection, got ${value}: the service lets a consumer have no more pending entries`
      throw wrongUseError(`${action} for group ${quotedValue(group)}`, rule, RangeError)
    }
  }
  // a consumer's own is within them: more is what a deployment asks for
  const maxPollers = limitMaxPollers(action, settings.maxPollers, settings.maxPollers, policies)
  return { ...settings, maxPending, maxParked, maxPollers }
}
