import type { AlarmLimits } from './alarm-options.ts'
import { joinText } from './join.ts'
import { consumerMetric, functionMetric, type Metric, type MetricSource } from './metrics.ts'
import type { FunctionTarget, Resource } from './resources.ts'

/** What a consumer's alarms are about. */
export interface AlarmSubject extends MetricSource {
  /** What the ids of the consumer's resources start with, as in `OrdersBilling`. */
  readonly id: string
  readonly poller: FunctionTarget
  readonly claimer: FunctionTarget
  readonly limits: AlarmLimits
  /** ARN of the SNS topic that hears of every change to ALARM and back to OK. */
  readonly topic?: unknown
}

/** One alarm, in our words. */
interface Alarm {
  readonly id: string
  /** The trouble in a few words. The stack's name stands before it. */
  readonly name: readonly unknown[]
  /** What it means, and what to look at first. */
  readonly means: readonly unknown[]
  readonly metric: Metric
  readonly statistic: 'SampleCount' | 'Sum' | 'Maximum'
  readonly when: readonly ['<' | '>' | '>=', number]
  readonly periodSeconds: number
  /** So many bad datapoints of so many. */
  readonly bad: readonly [number, number]
  readonly missingData: 'breaching' | 'notBreaching' | 'ignore'
}

const OPERATORS = {
  '<': 'LessThanThreshold',
  '>': 'GreaterThanThreshold',
  '>=': 'GreaterThanOrEqualToThreshold',
} as const

const FIVE_MINUTES = 300

/**
 * The alarms of one consumer.
 *
 * What is only reported when a function runs says nothing while none does. `NoPoll` and `OldestPending` are the two that take silence
 * for trouble, one for each function; the others leave that to them, so that a stopped schedule wakes somebody twice and not six times.
 */
export function describeConsumerAlarms(subject: AlarmSubject): Resource[] {
  return [noPoll, oldestPending, deadLetters, lost, lag]
    .map((row) => row(subject))
    .filter((alarm) => alarm !== undefined)
    .map(({ id, name, ...alarm }) =>
      translate(
        { ...alarm, id: `${subject.id}${id}Alarm`, name: [`${subject.stream}/${subject.group}: `, ...name] },
        subject.topic,
      ),
    )
}

/** The alarm on a function's failing invocations; one a function, however many consumers it runs. */
export function describeFunctionAlarm(fn: FunctionTarget, subject: Pick<AlarmSubject, 'limits' | 'topic'>): Resource[] {
  const { failingPeriods } = subject.limits
  if (failingPeriods === false) return []
  const alarm: Alarm = {
    id: `${fn.id}FailingAlarm`,
    name: ['invocations of ', fn.name, ' fail'],
    means: [
      `Invocations of ${fn.id} fail in ${failingPeriods} of 5 periods: Redis cannot be reached or refuses commands, or the function runs `,
      'into its timeout or its memory limit. Handlers that fail do not count here. Nothing is lost: entries stay in the stream or pending. ',
      'Look first at the errors in the log ',
      ...logOf(fn),
      ', then at Redis itself: is it up, is its memory full, was a password or an ACL user changed?',
    ],
    metric: functionMetric(fn, 'Errors'),
    statistic: 'Sum',
    when: ['>=', 1],
    periodSeconds: periodSeconds(subject.limits),
    bad: [failingPeriods, 5],
    missingData: 'notBreaching', // no invocation, no error; the consumer's alarms see to silence
  }
  return [translate(alarm, subject.topic)]
}

function noPoll(subject: AlarmSubject): Alarm | undefined {
  const { noPollMs } = subject.limits
  if (noPollMs === false) return undefined
  return {
    id: 'NoPoll',
    name: ['nothing polls'],
    means: [
      `Nothing has polled stream ${subject.stream} for group ${subject.group} for ${inWords(noPollMs)}: what is published waits. `,
      'Look first at the schedules that wake ',
      subject.poller.name,
      ' (disabled? denied? their dead-letter queue), then at its Errors and Throttles and at the log ',
      ...logOf(subject.poller),
      '.',
    ],
    metric: consumerMetric(subject, 'PolledEventCount'),
    statistic: 'SampleCount', // an empty poll reports 0, which is a sample
    when: ['<', 1],
    periodSeconds: periodSeconds(subject.limits),
    bad: [3, 3],
    missingData: 'breaching', // silence is the trouble
  }
}

function oldestPending(subject: AlarmSubject): Alarm | undefined {
  const { oldestPendingMs, noPollMs } = subject.limits
  if (oldestPendingMs === false) return undefined
  return {
    id: 'OldestPending',
    name: ['oldest pending entry too old'],
    means: [
      `An entry of stream ${subject.stream} has been pending in group ${subject.group} for more than ${inWords(oldestPendingMs)}, or `,
      'the claimer no longer says how long. Look first at whether ',
      subject.claimer.name,
      ' runs (its schedule, its Errors), then at FailedInvokeEventCount and the log ',
      ...logOf(subject.claimer),
      `: an event whose handler keeps failing is retried until its last delivery. XPENDING ${subject.stream} ${subject.group} shows what is pending.`,
    ],
    metric: consumerMetric(subject, 'OldestPendingAge'),
    statistic: 'Maximum',
    when: ['>', oldestPendingMs],
    periodSeconds: periodSeconds(subject.limits),
    bad: [3, 3],
    // every claim measures it, 0 where nothing is pending: without a measurement nobody claims, and nobody retries
    missingData: noPollMs === false ? 'notBreaching' : 'breaching',
  }
}

function deadLetters(subject: AlarmSubject): Alarm | undefined {
  const { deadLetters: limit } = subject.limits
  if (limit === false) return undefined
  return {
    id: 'DeadLetters',
    name: ['dead letters'],
    means: [
      `${limit} or more events of stream ${subject.stream} became dead letters of group ${subject.group} within five minutes: they cannot be `,
      'read, or their handler failed at every delivery. Nothing is lost, and nothing more is tried. Look first at the fields reason, ',
      `errorName and errorMessage in the dead-letter stream, whose key ends in :${subject.group}:dlq unless the code names another; `,
      'once the cause is mended, redrive them.',
    ],
    metric: consumerMetric(subject, 'OnFailureDestinationDeliveredEventCount'),
    statistic: 'Sum', // the poller's and the claimer's together
    when: ['>=', limit],
    periodSeconds: FIVE_MINUTES,
    bad: [1, 1],
    missingData: 'notBreaching', // nobody reported a dead letter
  }
}

function lost(subject: AlarmSubject): Alarm | undefined {
  if (!subject.limits.lost) return undefined
  return {
    id: 'Lost',
    name: ['entries lost'],
    means: [
      `Entries of stream ${subject.stream} were trimmed away while they were pending in group ${subject.group}: their events will never be `,
      'handled again by it, and are in no dead letter. Look first at who trims the stream (maxLength of the publishers, XTRIM, XDEL), then at ',
      'PendingEntries, OldestPendingAge and Lag: the group is further behind than the stream is long.',
    ],
    metric: consumerMetric(subject, 'LostEventCount'),
    statistic: 'Sum',
    when: ['>=', 1],
    periodSeconds: FIVE_MINUTES,
    bad: [1, 1],
    missingData: 'notBreaching', // nobody reported a loss
  }
}

function lag(subject: AlarmSubject): Alarm | undefined {
  const { lag: limit } = subject.limits
  if (limit === false) return undefined
  return {
    id: 'Lag',
    name: ['too far behind'],
    means: [
      `More than ${limit} entries of stream ${subject.stream} wait for their first delivery to group ${subject.group}: more is published than `,
      'is handled. Look first at PolledEventCount and at how long ',
      subject.poller.name,
      ' runs: at its timeout in every run it needs more concurrency, slots or pollers; below it, something slows it down or holds it, as ',
      'too many pending entries do.',
    ],
    metric: consumerMetric(subject, 'Lag'),
    statistic: 'Maximum',
    when: ['>', limit],
    periodSeconds: periodSeconds(subject.limits),
    bad: [3, 3],
    // Redis does not always know the lag (never before 7.0, and not after an XDEL in what is not delivered yet): that is neither bad nor good
    missingData: 'ignore',
  }
}

function translate(alarm: Alarm, topic: unknown): Resource {
  const [comparison, threshold] = alarm.when
  const [bad, of] = alarm.bad
  return {
    id: alarm.id,
    type: 'AWS::CloudWatch::Alarm',
    properties: {
      AlarmName: joinText({ Ref: 'AWS::StackName' }, ' ', ...alarm.name),
      AlarmDescription: joinText(...alarm.means),
      Namespace: alarm.metric.namespace,
      MetricName: alarm.metric.name,
      Dimensions: Object.entries(alarm.metric.dimensions).map(([Name, Value]) => ({ Name, Value })),
      Statistic: alarm.statistic,
      Period: alarm.periodSeconds,
      EvaluationPeriods: of,
      DatapointsToAlarm: bad,
      ComparisonOperator: OPERATORS[comparison],
      Threshold: threshold,
      TreatMissingData: alarm.missingData,
      ...(topic === undefined ? {} : { AlarmActions: [topic], OKActions: [topic] }),
    },
  }
}

/** Schedules are a minute or so late now and then: a third of the tolerated silence holds one run at least. */
function periodSeconds({ noPollMs }: AlarmLimits): number {
  return noPollMs === false ? FIVE_MINUTES : 60 * Math.ceil(noPollMs / 180_000)
}

function logOf(fn: FunctionTarget): readonly unknown[] {
  return ['/aws/lambda/', fn.name]
}

function inWords(ms: number): string {
  if (ms % 3_600_000 === 0) return count(ms / 3_600_000, 'hour')
  if (ms % 60_000 === 0) return count(ms / 60_000, 'minute')
  return count(ms / 1_000, 'second')
}

function count(amount: number, unit: string): string {
  return `${amount} ${unit}${amount === 1 ? '' : 's'}`
}
