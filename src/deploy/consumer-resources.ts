import { describeAlarms } from './alarms.ts'
import { describeDashboard } from './dashboard.ts'
import type { EventSourceSettings } from './event-source.ts'
import type { FunctionTarget, References, Resource } from './resources.ts'
import { describeSchedules } from './schedules.ts'

/** What a consumer's resources refer to. */
export interface ConsumerParts {
  /** Stem of the logical ids of what belongs only to this consumer, as in `OrdersBilling`. */
  readonly id: string
  /** Value of the metrics' dimension `service`: what the functions have as `POWERTOOLS_SERVICE_NAME`. */
  readonly service: string
  readonly poller: FunctionTarget
  readonly claimer: FunctionTarget
  readonly references: References
  /** ARN of the key that encrypts the settings' `failedSchedules`, if it is one of the account's own. */
  readonly failedSchedulesKey?: unknown
}

/**
 * The resources of a consumer, beside its functions and their roles and logs.
 *
 * What belongs to a function is described for each of its consumers, under the same ids: a stack keeps one of each.
 */
export function describeConsumer(settings: EventSourceSettings, parts: ConsumerParts): Resource[] {
  return [...describeSchedules(settings, parts), ...describeMonitoring(settings, parts)]
}

/** What watches a consumer: its alarms, and its dashboard. All of it belongs only to this consumer. */
function describeMonitoring(settings: EventSourceSettings, parts: ConsumerParts): Resource[] {
  const { alarms } = settings
  const subject = { ...parts, stream: settings.stream, group: settings.group }
  const described = alarms === false ? [] : describeAlarms({ ...subject, alarms })
  if (!settings.dashboard) return described
  const alarmArns = described.map(({ id }) => parts.references.attribute(id, 'Arn'))
  return [...described, describeDashboard({ ...subject, alarms, alarmArns, cacheClusterId: settings.cacheClusterId })]
}
