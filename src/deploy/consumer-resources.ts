import { createAlarmResources } from './alarms.ts'
import { createDashboardResource } from './dashboard.ts'
import type { EventSourceSettings } from './event-source.ts'
import type { CloudFormationResource, InvokedFunction, TemplateReferences } from './resources.ts'
import { createScheduleResources } from './schedules.ts'

/** What a consumer's resources refer to. */
export interface ConsumerResourceInputs {
  /** Stem of the logical ids of what belongs only to this consumer, as in `OrdersBilling`. */
  readonly id: string
  /** Value of the metrics' dimension `service`: what the functions have as `POWERTOOLS_SERVICE_NAME`. */
  readonly service: string
  readonly poller: InvokedFunction
  readonly claimer: InvokedFunction
  readonly references: TemplateReferences
  /** ARN of the key that encrypts the settings' `failedSchedules`, if it is one of the account's own. */
  readonly failedSchedulesKey?: unknown
}

/**
 * The resources of a consumer, beside its functions and their roles and logs.
 *
 * What belongs to a function is described for each of its consumers, under the same ids: a stack keeps one of each.
 */
export function createConsumerResources(
  settings: EventSourceSettings,
  parts: ConsumerResourceInputs,
): CloudFormationResource[] {
  return [...createScheduleResources(settings, parts), ...describeMonitoring(settings, parts)]
}

/** What watches a consumer: its alarms, and its dashboard. All of it belongs only to this consumer. */
function describeMonitoring(settings: EventSourceSettings, parts: ConsumerResourceInputs): CloudFormationResource[] {
  const { alarms } = settings
  const subject = { ...parts, stream: settings.stream, group: settings.group }
  const described = alarms === false ? [] : createAlarmResources({ ...subject, alarms })
  if (!settings.dashboard) return described
  const alarmArns = described.map(({ id }) => parts.references.attribute(id, 'Arn'))
  return [
    ...described,
    createDashboardResource({ ...subject, alarms, alarmArns, cacheClusterId: settings.cacheClusterId }),
  ]
}
