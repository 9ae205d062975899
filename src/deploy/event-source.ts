import { consumerKeys } from '../core/keys.ts'
import { cannot, object, withDefaults } from '../core/options.ts'
import { periodOf } from '../core/schedule-period.ts'
import type { PollMode, RUN_OVERRIDES } from '../define/consumer-settings.ts'
import { quoted } from '../errors.ts'
import {
  anyObject,
  anyText,
  checkOptions,
  flag,
  listOf,
  numberOf,
  options,
  orFalse,
  orReference,
  type Row,
  type Schema,
  textLike,
  whole,
  wordOf,
} from './option-rows.ts'
import type { Reference, Statement } from './resources.ts'

/** What the deployment of a consumer, its poller and its claimer, can be told. */
export interface EventSourceOptions {
  /** The stream's key, as in the code's `defineConsumer`. */
  readonly stream: string
  /** The group's name, as in the code's `defineConsumer`. */
  readonly group: string
  /**
   * How often the poller and the claimer are woken: `rate(…)` of minutes, hours or days, or `cron(…)` with six fields, in UTC. A slower
   * one lets events and retries wait longer. Default `rate(1 minute)`.
   */
  readonly schedule?: string
  /**
   * Schedules that wake the poller at the same time, 1 to `maxPollers`. Each takes the lowest free slot; one that finds none reads nothing.
   * Default 1.
   */
  readonly pollers?: number
  /** Whether the schedules run. `false` stops reading and claiming, and leaves everything else. Default `true`. */
  readonly enabled?: boolean
  /** Entries a read, 1 to 10,000, instead of what the code says. */
  readonly batchSize?: number
  /** Handlers that run side by side, 1 to 1,000, instead of what the code says. */
  readonly concurrency?: number
  /** Whether an invocation reads one batch (`once`) or all there are (`drain`), instead of what the code says. */
  readonly mode?: PollMode
  /** Milliseconds after which an invocation reads and starts nothing new, 1 to 900,000, instead of what the code says. */
  readonly maxRunMs?: number
  /** Pollers that may run at once, 1 to 64, instead of what the code says, which is 4 unless it says so. */
  readonly maxPollers?: number
  /**
   * Concurrent executions kept for each function, 1 to 1,000, which are also the most it may have. The poller needs `pollers` or more,
   * or its schedules are throttled. Default: none, since `maxPollers` bounds them already, and an account must have them to spare.
   */
  readonly reservedConcurrency?: { readonly poller?: number; readonly claimer?: number }
  /** Days that the functions' logs are kept, one of those that CloudWatch knows: 1, 3, 5, 7, 14, 30 … 3,653. Default 30. */
  readonly logRetentionInDays?: number
  /**
   * Names of the SSM parameters that each function may read and decrypt: one or a list, as in `/shop/redis-url`. What is not named cannot be
   * read. Default: none.
   */
  readonly parameters?: { readonly poller?: string | readonly string[]; readonly claimer?: string | readonly string[] }
  /**
   * Functions that the handlers invoke, one or a list: names, with or without a qualifier as in `notify:live`, ARNs or references, of which
   * `{ Ref: … }` names a function of the template. Both functions may invoke them and, the poller itself excepted, no others. Default: none.
   */
  readonly targets?: OneOrMany<string | Reference>
  /** IAM statements, added to the roles of both functions, for whatever else the handlers need. Default: none. */
  readonly statements?: OneOrMany<Statement>
  /**
   * ARN of the SQS queue, or a reference to that ARN as in `{ 'Fn::GetAtt': ['Failed', 'Arn'] }`, that takes what a schedule could not deliver. By default one is made, encrypted and for TLS
   * only, which keeps them for 14 days.
   */
  readonly failedSchedules?: string | Reference
  /** What to be alarmed at; `false`: nothing. By default every alarm is made and tells nobody. */
  readonly alarms?: AlarmOptions | false
  /** Whether there is a dashboard. Default `true`. */
  readonly dashboard?: boolean
  /** Id of the ElastiCache node whose memory the dashboard shows as well, or a reference to it. Default: none. */
  readonly cacheClusterId?: string | Reference
}

/** What to be alarmed at, and who is told. */
export interface AlarmOptions {
  /** ARN of the SNS topic that is told, or a reference to it. Default: none. */
  readonly topic?: string | Reference
  /**
   * Milliseconds without any poll, 180,000 to 259,200,000 (three days); a longer silence alarms. Rounded up to three times whole minutes.
   * Three periods of the schedule or more. Default: 180,000, or three periods of the schedule where that is longer; must be given where the
   * schedule is a `cron(…)`, and `false` where it is slower than once a day. `false`: silence of either function is no alarm.
   */
  readonly noPollMs?: number | false
  /** Milliseconds since the oldest pending entry was published, 1,000 or more; an older one alarms. Default 900,000. */
  readonly oldestPendingMs?: number
  /** Entries of the stream that may wait for their first delivery, 0 or more; more of them alarm. Default 10,000. */
  readonly maxLag?: number
  /** Dead letters within five minutes that are no alarm, 0 or more; more of them alarm. Default 0. */
  readonly deadLettersPer5Minutes?: number
}

/** The event as serverless.yml has it, at the poller: `- redisStream: { stream, group, claimer, … }`. */
export interface RedisStreamEvent extends EventSourceOptions {
  /** The function of this service that claims what the poller left behind; it shares the poller's event. */
  readonly claimer: string
}

type OneOrMany<T> = T | readonly T[]

/** Every option, resolved; what may be told one by one is a list. */
export interface EventSourceSettings {
  readonly stream: string
  readonly group: string
  readonly schedule: string
  readonly pollers: number
  readonly enabled: boolean
  /** What was given, and overrides the code. */
  readonly overrides: Overrides
  readonly reservedConcurrency: { readonly poller?: number; readonly claimer?: number }
  readonly logRetentionInDays: number
  readonly parameters: { readonly poller: readonly string[]; readonly claimer: readonly string[] }
  readonly targets: readonly (string | Reference)[]
  readonly statements: readonly Statement[]
  /** `undefined`: a queue is made. */
  readonly failedSchedules: string | Reference | undefined
  readonly alarms: AlarmSettings | false
  readonly dashboard: boolean
  readonly cacheClusterId: string | Reference | undefined
}

/** What the deployment says instead of the code. */
type Overrides = Pick<EventSourceOptions, (typeof RUN_OVERRIDES)[number]>

/** Every alarm option, resolved. */
export interface AlarmSettings extends Required<Omit<AlarmOptions, 'topic'>> {
  /** `false`, too, while the schedules are disabled. */
  readonly noPollMs: number | false
  /** Milliseconds between two runs: the schedule's, or a third of `noPollMs` where it has no fixed period; `undefined`: who knows. */
  readonly tickMs: number | undefined
  /** `undefined`: nobody is told. */
  readonly topic: string | Reference | undefined
}

/** The code's own default of `maxPollers`, where neither the event nor the code says anything. */
const CODE_MAX_POLLERS = 4

const DEFAULTS = {
  schedule: 'rate(1 minute)',
  pollers: 1,
  enabled: true,
  logRetentionInDays: 30,
  dashboard: true,
}

const ALARM_DEFAULTS = {
  oldestPendingMs: 900_000, // an event whose handler always fails is a dead letter by then
  maxLag: 10_000,
  deadLettersPer5Minutes: 0,
}

const MIN_SILENCE_MS = 180_000
/** Three periods of CloudWatch's longest. */
const MAX_SILENCE_MS = 3 * 86_400_000

/** What CloudWatch's 255 characters leave to the names, beside the longest stack's 128 and what the longest alarm says. */
const MAX_NAMES = 95

/** What CloudWatch Logs takes. @see https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html */
const RETENTIONS = [
  1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
]

const MOST = Number.MAX_SAFE_INTEGER
const schedule = textLike(
  /^(rate\([1-9]\d* (minute|hour|day)s?\)|cron\(\S+( \S+){5}\))$/,
  'rate(…) of minutes, hours or days, or cron(…) with six fields',
)
const parameters = listOf(textLike(/^\/?[\w.-]+(\/[\w.-]+)*$/, 'the name of an SSM parameter, as in /shop/redis-url'))
// a token of the CDK's is text, too, and becomes an ARN later
const arnLike = (example: string) => {
  const row = textLike(/^(arn:|\$\{Token\[)/, `an ARN or a reference, as in ${example}`)
  return orReference({ ...row, schema: { type: 'string', pattern: '^arn:' } }, example)
}
const functionText = textLike(
  /^([\w-]+(:[\w$-]+)?|arn:.+|.*\$\{Token\[.+)$/,
  "a function's name, name:qualifier, an ARN or a reference",
)
const target = orReference({ ...functionText, schema: { type: 'string', pattern: '^([\\w-]+(:[\\w$-]+)?|arn:.+)$' } })
const alarms = options({
  topic: arnLike('{ Ref: … }'), // of a topic, that is the ARN
  noPollMs: orFalse(whole(MIN_SILENCE_MS, MAX_SILENCE_MS)),
  oldestPendingMs: whole(1_000, MOST),
  maxLag: whole(0, MOST),
  deadLettersPer5Minutes: whole(0, MOST),
})

const OVERRIDES = {
  batchSize: whole(1, 10_000),
  concurrency: whole(1, 1_000),
  mode: wordOf(['once', 'drain']),
  maxRunMs: whole(1, 900_000),
  maxPollers: whole(1, 64),
} satisfies Record<keyof Overrides, Row>

const OPTIONS = {
  stream: anyText,
  group: anyText,
  schedule,
  pollers: whole(1, 64),
  enabled: flag,
  ...OVERRIDES,
  reservedConcurrency: options({ poller: whole(1, 1_000), claimer: whole(1, 1_000) }),
  logRetentionInDays: numberOf(RETENTIONS),
  parameters: options({ poller: parameters, claimer: parameters }),
  targets: listOf(target),
  statements: listOf(anyObject),
  failedSchedules: arnLike('{ Fn::GetAtt: [<queue>, Arn] }'), // its Ref would be a URL
  alarms: orFalse(alarms),
  dashboard: flag,
  cacheClusterId: orReference(anyText),
} satisfies Record<keyof EventSourceOptions, Row>

const REQUIRED = ['stream', 'group']

/** The schema of the event, for osls' `defineFunctionEvent`. */
export const redisStreamSchema: Schema = options({ claimer: anyText, ...OPTIONS }, [...REQUIRED, 'claimer']).schema

/**
 * Fills in the defaults, and checks ranges and relations.
 *
 * @param action What the messages say cannot be done, as in `deploy consumer "billing"`.
 * @throws {TypeError | RangeError} The message names the rule and the value.
 */
export function resolveEventSource(action: string, given: EventSourceOptions): EventSourceSettings {
  object(action, 'the options', given)
  checkOptions(action, OPTIONS, REQUIRED, given)
  checkRelations(action, given)
  checkNames(action, given)
  const { schedule, pollers, enabled, logRetentionInDays, dashboard } = given
  return Object.freeze({
    stream: given.stream,
    group: given.group,
    ...withDefaults(DEFAULTS, { schedule, pollers, enabled, logRetentionInDays, dashboard }),
    overrides: pick(given, Object.keys(OVERRIDES) as (keyof Overrides)[]),
    reservedConcurrency: { ...given.reservedConcurrency },
    parameters: { poller: listed(given.parameters?.poller), claimer: listed(given.parameters?.claimer) },
    targets: listed(given.targets),
    statements: listed(given.statements),
    failedSchedules: given.failedSchedules,
    cacheClusterId: given.cacheClusterId,
    alarms: given.alarms !== false && resolveAlarms(action, given.alarms, given),
  })
}

/**
 * What the poller's environment says under `MILLRACE_EVENT_SOURCE`: an element a consumer that overrides something.
 *
 * @returns JSON, or `undefined` where nothing is overridden.
 */
export function overridesOf(consumers: readonly EventSourceSettings[]): string | undefined {
  const elements = consumers
    .filter(({ overrides }) => Object.keys(overrides).length > 0)
    .map(({ stream, group, overrides }) => ({ stream, group, ...overrides }))
  return elements.length > 0 ? JSON.stringify(elements) : undefined
}

function resolveAlarms(
  action: string,
  { topic, noPollMs, ...limits }: AlarmOptions = {},
  { schedule = DEFAULTS.schedule, enabled = DEFAULTS.enabled }: Pick<EventSourceOptions, 'schedule' | 'enabled'>,
): AlarmSettings {
  const period = periodOf(schedule)
  if (noPollMs && period !== undefined) checkSilence(action, noPollMs, period, schedule)
  const tickMs = period ?? (noPollMs ? noPollMs / 3 : undefined)
  const silence = enabled && (noPollMs ?? threePeriodsOf(action, period, schedule))
  return Object.freeze({ topic, noPollMs: silence, tickMs, ...withDefaults(ALARM_DEFAULTS, limits) })
}

/** A silence that the schedule itself keeps would alarm for ever. */
function checkSilence(action: string, noPollMs: number, period: number, schedule: string): void {
  const least = threePeriodsOf(action, period, schedule)
  if (noPollMs >= least) return
  throw cannot(
    action,
    `alarms.noPollMs must be >= ${least}, three periods of the schedule ${schedule}, got ${noPollMs}`,
    RangeError,
  )
}

function threePeriodsOf(action: string, period: number | undefined, schedule: string): number {
  if (period === undefined) {
    throw cannot(
      action,
      `alarms.noPollMs must be given where the schedule has no fixed period, got schedule ${schedule}; false leaves that ` +
        'alarm out',
    )
  }
  if (3 * period <= MAX_SILENCE_MS) return Math.max(MIN_SILENCE_MS, 3 * period)
  throw cannot(
    action,
    `alarms.noPollMs must be false where the schedule is slower than once a day, got schedule ${schedule}; nothing alarms ` +
      'of silence then',
  )
}

function checkRelations(action: string, given: EventSourceOptions): void {
  const { stream, group, pollers = DEFAULTS.pollers, maxPollers = CODE_MAX_POLLERS, reservedConcurrency = {} } = given
  if (pollers > maxPollers) {
    throw cannot(
      action,
      `pollers must be <= maxPollers, got pollers ${pollers} and maxPollers ${maxPollers}; set maxPollers here if there are to be more`,
      RangeError,
    )
  }
  const { poller = pollers } = reservedConcurrency
  if (poller < pollers) {
    throw cannot(
      action,
      `reservedConcurrency.poller must be >= pollers, got reservedConcurrency.poller ${poller} and pollers ${pollers}`,
      RangeError,
    )
  }
  try {
    consumerKeys(stream, group)
  } catch (cause) {
    throw new TypeError(`Cannot ${action}: ${(cause as Error).message}`, { cause })
  }
}

/** Both names are in those of alarms and dashboard, and in the dimensions of every metric that these look at. */
function checkNames(action: string, { stream, group, alarms, dashboard }: EventSourceOptions): void {
  if (alarms === false && dashboard === false) return
  const without = 'or alarms and dashboard must both be false'
  for (const [name, value] of Object.entries({ stream, group })) {
    if (/^[ -~]+$/.test(value) && /[A-Za-z0-9]/.test(value)) continue
    throw cannot(
      action,
      `${name} must be printable ASCII with a letter or a digit, as CloudWatch wants it, ${without}, got ${quoted(value)}`,
    )
  }
  const length = stream.length + group.length
  if (length <= MAX_NAMES) return
  throw cannot(
    action,
    `stream and group must have ${MAX_NAMES} characters or fewer together, since alarms are named after them, ${without}, ` +
      `got ${length}`,
    RangeError,
  )
}

function listed<T>(given: OneOrMany<T> | undefined): readonly T[] {
  return given === undefined ? [] : Array.isArray(given) ? given : [given as T]
}

function pick<T extends object, K extends keyof T>(from: T, names: readonly K[]): Pick<T, K> {
  const given = names.filter((name) => from[name] !== undefined)
  return Object.fromEntries(given.map((name) => [name, from[name]])) as Pick<T, K>
}
