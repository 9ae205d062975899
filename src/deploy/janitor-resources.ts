import type { Alarm } from './alarms.ts'
import { createAlarmResource, inWords, logOf, ofRuns } from './alarms.ts'
import type { JanitorSettings } from './janitor-event.ts'
import { functionMetric, streamMetric } from './metrics.ts'
import type { CloudFormationResource, InvokedFunction, TemplateReferences } from './resources.ts'
import { createJanitorScheduleResources } from './schedules.ts'

/** What a janitor's resources refer to. */
export interface JanitorResourceInputs {
  /** Stem of the logical ids of what belongs only to this stream, as in `OrdersJanitor`. */
  readonly id: string
  /** Value of the metrics' dimension `service`. */
  readonly service: string
  readonly janitor: InvokedFunction
  readonly references: TemplateReferences
  /** ARN of the key that encrypts the settings' `failedSchedules`, if it is one of the account's own. */
  readonly failedSchedulesKey?: unknown
}

/** The resources of a janitor of one stream, beside its function, role and log. What belongs to the function is described for each of its streams, under the same ids. */
export function createJanitorResources(
  settings: JanitorSettings,
  parts: JanitorResourceInputs,
): CloudFormationResource[] {
  return [...createJanitorScheduleResources(settings, parts), ...describeAlarms(settings, parts)]
}

function describeAlarms(
  settings: JanitorSettings,
  { id, service, janitor }: JanitorResourceInputs,
): CloudFormationResource[] {
  const { alarms, stream } = settings
  if (alarms === false) return []
  const { topic, maxBlockedMs } = alarms
  const source = { service, stream }
  const all: readonly Alarm[] = [
    {
      id: 'TrimmedAhead',
      trouble: 'trimmed ahead of a group',
      means: [
        `Entries of stream ${stream} were trimmed or deleted before a registered group had done them, and not by the janitor: the group will never handle their events. `,
        'Look first at who trims the stream (maxLength and retentionMs of the publishers, XTRIM, XDEL), then at how far behind the group is: ',
        `millrace status --stream ${stream} names it.`,
      ],
      metric: streamMetric(source, 'TrimmedAheadCount'),
      statistic: 'Sum',
      when: ['>', 0],
      periodSeconds: 300,
      bad: [1, 1],
      missingData: 'notBreaching', // nobody reported a loss
    },
    {
      id: 'Blocked',
      trouble: 'nothing can be trimmed',
      means: [
        `Somebody has kept entries of stream ${stream} from being trimmed for more than ${inWords(maxBlockedMs)}, or the janitor no longer reports. `,
        `millrace status --stream ${stream} names who: a group that is behind, lost or unknown, or a floor. Look first at its poller and claimer, then at whether `,
        janitor.name,
        ' runs.',
      ],
      metric: streamMetric(source, 'BlockedDuration'),
      statistic: 'Maximum',
      when: ['>', maxBlockedMs],
      ...ofRuns(alarms, [3, 3]),
      missingData: settings.enabled ? 'breaching' : 'notBreaching', // every run measures it
    },
    {
      id: 'Failing',
      trouble: 'janitor fails',
      means: [
        'Invocations of ',
        janitor.name,
        ' failed in 3 of 5 runs: the archive refuses, or Redis cannot be reached or refuses commands. Nothing is lost: what is not archived is not trimmed, and the stream grows. Look first at the errors in ',
        ...logOf(janitor),
        '.',
      ],
      metric: functionMetric(janitor, 'Errors'),
      statistic: 'Sum',
      when: ['>', 0],
      ...ofRuns(alarms, [3, 5]),
      missingData: 'notBreaching', // no invocation, no error
    },
  ]
  return all.map((alarm) => createAlarmResource(alarm, { id, name: stream, topic }))
}
