import type { AlarmSettings } from './alarm-options.ts'
import { joinTemplateText } from './join.ts'
import { type CloudWatchMetric, consumerMetric, functionMetric, type MetricSource } from './metrics.ts'
import type { CloudFormationResource, InvokedFunction } from './resources.ts'

/** What a consumer's alarms are about. */
export interface AlarmedConsumer extends MetricSource {
  /** Stem of the logical ids, as in `OrdersBilling`. */
  readonly id: string
  readonly poller: InvokedFunction
  readonly claimer: InvokedFunction
  readonly alarms: AlarmSettings
}

/** One alarm, in our words. */
export interface Alarm {
  /** What its id says after the consumer's. */
  readonly id: string
  /** The trouble in a few words; the stack's and the consumer's names stand before it. */
  readonly trouble: string
  /** What it means, and what to check first. */
  readonly means: readonly unknown[]
  readonly metric: CloudWatchMetric
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
const HOUR = 3_600

/** How full a dead-letter stream may be, in percent of its `maxLength`; the doctor warns there, too. */
const FULL_PERCENT = 80
/** CloudWatch's longest period. */
const DAY = 86_400

/** Some failures are gone by the next tick; what fails most of the time does not. */
const FAILING_PERIODS = 3

/**
 * The alarms of one consumer; those on functions that it shares with others are its own as well, so that its topic hears of them.
 *
 * What is only reported when a function runs says nothing while none does. `NoPoll` and `OldestPending` are the two that take silence
 * for trouble, one for each function; the others leave that to them, so that a stopped schedule wakes somebody twice and not six times.
 */
export function createAlarmResources(subject: AlarmedConsumer): CloudFormationResource[] {
  const { poller, claimer } = subject
  const alarms = [
    noPoll(subject),
    oldestPending(subject),
    deadLetters(subject),
    deadLettersFull(subject),
    failing('Poller', poller, subject),
    failing('Claimer', claimer, subject),
    lost(subject),
    lag(subject),
  ]
  return alarms.filter((alarm) => alarm !== undefined).map((alarm) => translate(alarm, subject))
}

function noPoll(subject: AlarmedConsumer): Alarm | undefined {
  const { noPollMs } = subject.alarms
  if (noPollMs === false) return undefined
  return {
    id: 'NoPoll',
    trouble: 'nothing polls',
    means: [
      `Nothing has polled stream ${subject.stream} for group ${subject.group} for ${inWords(noPollMs)}: what is published waits. `,
      'Look first at the schedules that wake ',
      subject.poller.name,
      ' (disabled? denied? their dead-letter queue), then at its Errors and Throttles and at ',
      ...logOf(subject.poller),
      '.',
    ],
    metric: consumerMetric(subject, 'PolledEventCount'),
    statistic: 'SampleCount', // an empty poll reports 0, which is a sample
    when: ['<', 1],
    // schedules are a minute or so late now and then: a third of the tolerated silence holds one run at least
    periodSeconds: wholeMinutes(noPollMs / 3),
    bad: [3, 3],
    missingData: 'breaching', // silence is the trouble
  }
}

function oldestPending(subject: AlarmedConsumer): Alarm {
  const { oldestPendingMs, noPollMs } = subject.alarms
  return {
    id: 'OldestPending',
    trouble: 'oldest pending entry too old',
    means: [
      `The oldest pending entry of group ${subject.group} was published to stream ${subject.stream} more than ${inWords(oldestPendingMs)} ago, or `,
      'the claimer no longer says how long ago. Look first at whether ',
      subject.claimer.name,
      ' runs (its schedule, its Errors), then at FailedInvokeEventCount and ',
      ...logOf(subject.claimer),
      `: an event whose handler keeps failing is retried until its last delivery. XPENDING ${subject.stream} ${subject.group} shows what is `,
      'pending.',
    ],
    metric: consumerMetric(subject, 'OldestPendingAge'),
    statistic: 'Maximum',
    when: ['>', oldestPendingMs],
    ...ofRuns(subject.alarms, [3, 3]),
    // every claim measures it, 0 where nothing is pending: without one for three periods of the schedule nobody claims, and nobody retries
    missingData: noPollMs === false ? 'notBreaching' : 'breaching',
  }
}

function deadLetters(subject: AlarmedConsumer): Alarm {
  const { deadLettersPer5Minutes: limit } = subject.alarms
  return {
    id: 'DeadLetters',
    trouble: 'dead letters',
    means: [
      `${limit === 0 ? 'Events' : `More than ${limit} events`} of stream ${subject.stream} became dead letters of group ${subject.group} within five minutes: they cannot be `,
      'read, or their handler failed at every delivery. Nothing is lost, and nothing more is tried. Look first at the fields reason, ',
      `errorName and errorMessage in the dead-letter stream, whose key ends in :${subject.group}:dlq unless the code names another; `,
      'once the cause is fixed, redrive them.',
    ],
    metric: consumerMetric(subject, 'OnFailureDestinationDeliveredEventCount'),
    statistic: 'Sum', // the poller's and the claimer's together
    when: ['>', limit],
    periodSeconds: FIVE_MINUTES,
    bad: [1, 1],
    missingData: 'notBreaching', // nobody reported a dead letter
  }
}

function deadLettersFull(subject: AlarmedConsumer): Alarm {
  return {
    id: 'DeadLettersFull',
    trouble: 'dead letters nearly full',
    means: [
      `The dead-letter stream of group ${subject.group} on stream ${subject.stream} holds ${FULL_PERCENT} % or more of its deadLetters.maxLength: above it `,
      'the oldest letters are removed, and nobody can redrive them. Look first at what they are (millrace dlq ls), fix the cause and redrive them, or drop ',
      'them; else raise deadLetters.maxLength. TrimmedDeadLetterCount says how many are gone.',
    ],
    metric: consumerMetric(subject, 'DeadLetterUsagePercentage'),
    statistic: 'Maximum',
    when: ['>=', FULL_PERCENT],
    ...ofRuns(subject.alarms, [1, 1]),
    missingData: 'ignore', // no claimer ran, or all letters are kept
  }
}

function lost(subject: AlarmedConsumer): Alarm {
  return {
    id: 'Lost',
    trouble: 'entries lost',
    means: [
      `Entries of stream ${subject.stream} were trimmed away while they were pending in group ${subject.group}: their events will never be `,
      'handled again by it, and are in no dead letter. Look first at who trims the stream (maxLength of the publishers, XTRIM, XDEL), then at ',
      'PendingEntries, OldestPendingAge and Lag: the group is further behind than the stream is long.',
    ],
    metric: consumerMetric(subject, 'LostEventCount'),
    statistic: 'Sum',
    when: ['>', 0],
    periodSeconds: FIVE_MINUTES,
    bad: [1, 1],
    missingData: 'notBreaching', // nobody reported a loss
  }
}

function lag(subject: AlarmedConsumer): Alarm {
  const { maxLag: limit } = subject.alarms
  return {
    id: 'Lag',
    trouble: 'too far behind',
    means: [
      `More than ${limit} entries of stream ${subject.stream} wait for their first delivery to group ${subject.group}: more is published than `,
      'is handled. Look first at PolledEventCount and at how long ',
      subject.poller.name,
      ' runs: at its timeout in every run it needs more concurrency, maxPollers or pollers; below it, something slows it down or holds it, as ',
      'too many pending entries do.',
    ],
    metric: consumerMetric(subject, 'Lag'),
    statistic: 'Maximum',
    when: ['>', limit],
    ...ofRuns(subject.alarms, [3, 3]),
    // Redis does not always know the lag (never before 7.0, and not after an XDEL in what is not delivered yet): that is neither bad nor good
    missingData: 'ignore',
  }
}

function failing(part: 'Poller' | 'Claimer', fn: InvokedFunction, { alarms }: AlarmedConsumer): Alarm {
  const runs = ofRuns(alarms, [FAILING_PERIODS, 5])
  const [bad, of] = runs.bad
  return {
    id: `${part}Failing`,
    trouble: `${part.toLowerCase()} fails`,
    means: [
      'Invocations of ',
      fn.name,
      ` failed in ${bad} of ${of} periods of ${inWords(1_000 * runs.periodSeconds)}: Redis cannot be reached or refuses commands, or the function runs into its timeout or its memory limit. `,
      'Handlers that fail do not count here. Nothing is lost: entries stay in the stream, or pending. Look first at the errors in ',
      ...logOf(fn),
      ', then at Redis itself: is it up, is its memory full, did its users or their rights change?',
    ],
    metric: functionMetric(fn, 'Errors'),
    statistic: 'Sum',
    when: ['>', 0],
    ...runs,
    missingData: 'notBreaching', // no invocation, no error: silence is seen to above
  }
}

function translate(alarm: Alarm, { id, stream, group, alarms: { topic } }: AlarmedConsumer): CloudFormationResource {
  return createAlarmResource(alarm, { id, name: `${stream}/${group}`, topic })
}

/** @param whose Stem of the logical id, what the alarm's name says it is about, and whom it notifies. */
export function createAlarmResource(
  alarm: Alarm,
  { id, name, topic }: { readonly id: string; readonly name: string; readonly topic: unknown },
): CloudFormationResource {
  const [comparison, threshold] = alarm.when
  const [bad, of] = alarm.bad
  return {
    id: `${id}${alarm.id}Alarm`,
    type: 'AWS::CloudWatch::Alarm',
    properties: {
      AlarmName: joinTemplateText({ Ref: 'AWS::StackName' }, ` ${name}: ${alarm.trouble}`),
      AlarmDescription: joinTemplateText(...alarm.means),
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

/**
 * What every run reports is evaluated once per run. Where nobody knows how far runs lie apart, or where that is further than CloudWatch can
 * evaluate, there may never be several in a row: one is enough.
 */
export function ofRuns(
  { tickMs }: Pick<AlarmSettings, 'tickMs'>,
  bad: Alarm['bad'],
): Pick<Alarm, 'periodSeconds' | 'bad'> {
  if (tickMs === undefined) return { periodSeconds: HOUR, bad: [1, 1] }
  if (tickMs > 1_000 * DAY) return { periodSeconds: DAY, bad: [1, 1] }
  return { periodSeconds: wholeMinutes(tickMs), bad }
}

function wholeMinutes(ms: number): number {
  return 60 * Math.ceil(ms / 60_000)
}

export function logOf(fn: InvokedFunction): readonly unknown[] {
  return ['the log of ', fn.name]
}

export function inWords(ms: number): string {
  if (ms % 3_600_000 === 0) return count(ms / 3_600_000, 'hour')
  if (ms % 60_000 === 0) return count(ms / 60_000, 'minute')
  return count(ms / 1_000, 'second')
}

function count(amount: number, unit: string): string {
  return `${amount} ${unit}${amount === 1 ? '' : 's'}`
}
