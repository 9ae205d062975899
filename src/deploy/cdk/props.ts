import type { Duration } from 'aws-cdk-lib'
import type { IAlias } from 'aws-cdk-lib/aws-kms'
import type { IFunction } from 'aws-cdk-lib/aws-lambda'
import { ScheduleExpression } from 'aws-cdk-lib/aws-scheduler'
import type { ITopic } from 'aws-cdk-lib/aws-sns'
import type { IQueue } from 'aws-cdk-lib/aws-sqs'
import type { FilterPattern } from '../../core/filter-patterns.ts'
import type { PollMode } from '../../define/consumer-settings.ts'
import type { AlarmOptions } from '../alarm-options.ts'
import type { EventSourceOptions, EventSourceSettings } from '../event-source.ts'
import { resolveEventSource } from '../event-source.ts'

/** A consumer of a Redis stream, as the function that polls it sees it. */
export interface RedisStreamEventSourceProps {
  /** The stream's key, as in the code's `defineConsumer`. */
  readonly stream: string
  /** The group's name, as in the code's `defineConsumer`. */
  readonly group: string
  /** The function that claims what the poller left behind, retries it, and sets aside what cannot succeed. */
  readonly claimer: IFunction
  /**
   * How often poller and claimer are woken: a duration of whole minutes, an expression in UTC, or its text. A slower one lets events and
   * retries wait longer.
   *
   * @default every minute
   */
  readonly schedule?: Duration | ScheduleExpression | string
  /**
   * Schedules that wake the poller at the same time, 1 to `maxPollers`: what `parallelizationFactor` is to a shard.
   *
   * @default 1
   */
  readonly pollers?: number
  /**
   * Whether the schedules run.
   *
   * @default true
   */
  readonly enabled?: boolean
  /**
   * Entries per read, 1 to 10,000.
   *
   * @default what the code says
   */
  readonly batchSize?: number
  /**
   * Handlers that run side by side in one invocation, 1 to 1,000.
   *
   * @default what the code says
   */
  readonly concurrency?: number
  /**
   * Whether an invocation reads one batch (`once`) or all there are (`drain`).
   *
   * @default what the code says
   */
  readonly mode?: PollMode
  /**
   * Time after which an invocation reads and starts nothing new, at most 15 minutes.
   *
   * @default what the code says
   */
  readonly maxRun?: Duration
  /**
   * Time for which an invocation that a publisher woke goes on listening after its last entry, at most 15 minutes.
   *
   * @default what the code says
   */
  readonly linger?: Duration
  /**
   * Pollers that may run at once, 1 to 64.
   *
   * @default what the code says, which is 4 unless it says so
   */
  readonly maxPollers?: number
  /**
   * Which events are for this group, 1 to 10 patterns in the grammar of AWS's event filtering: what matches none of them is ignored. The code must have
   * `filter: filterPatterns()`, which brings along what reads them; else its functions fail when they load.
   *
   * @default what the code says
   */
  readonly filterPatterns?: readonly FilterPattern[]
  /**
   * Names of the SSM parameters that each function may read and decrypt, as in `/shop/redis-url`. What is granted otherwise, as by
   * `parameter.grantRead(poller)`, need not be named.
   *
   * @default none
   */
  readonly parameters?: { readonly poller?: string | readonly string[]; readonly claimer?: string | readonly string[] }
  /**
   * Functions that the handlers invoke; both poller and claimer may.
   *
   * @default none
   */
  readonly targets?: readonly IFunction[]
  /**
   * Takes what a schedule could not deliver.
   *
   * @default one queue a stack is made, encrypted and for TLS only, which keeps them for 14 days
   */
  readonly onFailedSchedule?: IQueue
  /**
   * The functions' `POWERTOOLS_SERVICE_NAME`, which their metrics are found by. Must be given with imported functions, whose environment is
   * set elsewhere.
   *
   * @default what their environment says already, otherwise the stack's name
   */
  readonly serviceName?: string
  /**
   * Hears of every alarm, and of its end.
   *
   * @default alarms notify nobody
   */
  readonly alarmTopic?: ITopic
  /**
   * When the alarms go off; `false`: there are none.
   *
   * @default every alarm, with its default
   */
  readonly alarms?: RedisStreamAlarmOptions | false
  /**
   * Whether there is a dashboard.
   *
   * @default true
   */
  readonly dashboard?: boolean
  /**
   * Id of the ElastiCache node whose memory the dashboard shows as well.
   *
   * @default none
   */
  readonly cacheClusterId?: string
}

/** A consumer of a Redis stream: the function that polls, the function that claims, and how. */
export interface RedisStreamConsumerProps extends RedisStreamEventSourceProps {
  /** The function that reads new entries and handles them. */
  readonly poller: IFunction
}

/** When the alarms of a consumer go off. */
export interface RedisStreamAlarmOptions {
  /**
   * Time without any poll, three minutes to three days, counted in threes of whole minutes. `false`: silence of either function is fine.
   *
   * @default three minutes, or three periods of the schedule where that is longer; must be given for other schedules than a rate
   */
  readonly noPoll?: Duration | false
  /**
   * How long ago the oldest pending entry may have been published.
   *
   * @default 15 minutes
   */
  readonly oldestPendingAge?: Duration
  /**
   * Entries of the stream that may wait for their first delivery.
   *
   * @default 10,000
   */
  readonly maxLag?: number
  /**
   * Dead letters within five minutes that are no alarm.
   *
   * @default 0
   */
  readonly deadLettersPer5Minutes?: number
}

/** What errors of the description call what our props call otherwise. */
const NAMES: Readonly<Record<string, string>> = {
  maxRunMs: 'maxRun',
  lingerMs: 'linger',
  retentionMs: 'retention',
  failedSchedules: 'onFailedSchedule',
  'alarms.topic': 'alarmTopic',
  'alarms.noPollMs': 'alarms.noPoll',
  'alarms.oldestPendingMs': 'alarms.oldestPendingAge',
  'alarms.maxBlockedMs': 'alarms.maxBlocked',
}

const ACTION = 'add Redis stream'

/**
 * The settings of a consumer, checked by the one description.
 *
 * @throws {TypeError | RangeError} Under the props' names, as the CDK's own errors are: `batchSize cannot be over 10000, got 20000`.
 */
export function resolveProps(props: RedisStreamEventSourceProps): EventSourceSettings {
  const options = optionsOf(props)
  try {
    return resolveEventSource(ACTION, options)
  } catch (error) {
    const Kind = error instanceof RangeError ? RangeError : TypeError
    throw new Kind(inCdkWords((error as Error).message), { cause: error })
  }
}

/** ARN of the key that encrypts `onFailedSchedule`: that of the key itself, since permissions know no alias. */
export function failedScheduleKeyArn({ onFailedSchedule }: { readonly onFailedSchedule?: IQueue }): string | undefined {
  const key = onFailedSchedule?.encryptionMasterKey
  return key !== undefined && 'aliasTargetKey' in key ? (key as IAlias).aliasTargetKey.keyArn : key?.keyArn
}

function optionsOf(props: RedisStreamEventSourceProps): EventSourceOptions {
  const { stream, group, pollers, enabled, batchSize, concurrency, mode, maxPollers, parameters, dashboard } = props
  return withoutUndefined({
    stream,
    group,
    pollers,
    enabled,
    batchSize,
    concurrency,
    mode,
    maxPollers,
    parameters,
    dashboard,
    cacheClusterId: props.cacheClusterId,
    schedule: props.schedule && scheduleTextOf(props.schedule),
    filterPatterns: props.filterPatterns,
    maxRunMs: props.maxRun?.toMilliseconds(),
    lingerMs: props.linger?.toMilliseconds(),
    targets: props.targets?.map(({ functionArn }) => functionArn),
    failedSchedules: props.onFailedSchedule?.queueArn,
    alarms: props.alarms === false ? false : alarmOptionsOf(props.alarms, props.alarmTopic),
  }) as unknown as EventSourceOptions
}

function alarmOptionsOf(alarms: RedisStreamAlarmOptions = {}, topic: ITopic | undefined): AlarmOptions {
  const { noPoll, oldestPendingAge, ...counts } = alarms
  return withoutUndefined({
    ...counts,
    topic: topic?.topicArn,
    noPollMs: noPoll === false ? false : noPoll?.toMilliseconds(),
    oldestPendingMs: oldestPendingAge?.toMilliseconds(),
  })
}

export function scheduleTextOf(schedule: Duration | ScheduleExpression | string): string {
  if (typeof schedule === 'string') return schedule
  const { expressionString, timeZone } = 'toMinutes' in schedule ? ScheduleExpression.rate(schedule) : schedule
  if (timeZone !== undefined && timeZone.timezoneName !== 'Etc/UTC')
    throw new TypeError(`schedule cannot have a time zone other than Etc/UTC, got ${timeZone.timezoneName}`)
  return expressionString
}

/** A message of the description in the CDK's words, under the props' names. */
export function inCdkWords(message: string): string {
  return message
    .replace(`Cannot ${ACTION}: `, '')
    .replace(/^(\S+Ms) must be ([<>])/, '$1 in milliseconds must be $2')
    .replace(/^[\w.]+/, (name) => NAMES[name] ?? name)
    .replace('must be >= ', 'cannot be under ')
    .replace('must be <= ', 'cannot be over ')
}

/** With `exactOptionalPropertyTypes`, an option that is left out is not there. */
export function withoutUndefined<T extends object>(options: T): { [K in keyof T]?: NonNullable<T[K]> } {
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  return Object.fromEntries(given) as { [K in keyof T]?: NonNullable<T[K]> }
}
