import type { FilterPattern } from '../core/filter-patterns.ts'
import { consumerKeys } from '../core/keys.ts'
import { assertObject, withDefaults, wrongUseError } from '../core/options.ts'
import { CONSUMER_NUMBER_OPTIONS, POLL_MODES } from '../core/rows.ts'
import type { PollMode, RUN_OVERRIDE_NAMES } from '../define/consumer-settings.ts'
import { quotedValue } from '../errors.ts'
import type { AlarmOptions, AlarmSettings } from './alarm-options.ts'
import { alarmOptionsRow, resolveAlarmOptions } from './alarm-options.ts'
import {
  arnOptionRow,
  booleanOptionRow,
  checkOptions,
  filterPatternsOptionRow,
  type JsonSchema,
  listOptionRow,
  nestedOptionsRow,
  numberOptionRow,
  type OptionRow,
  objectOptionRow,
  oneOfNumbersOptionRow,
  oneOfWordsOptionRow,
  optionRowOrFalse,
  optionRowOrReference,
  textOptionRow,
  textPatternOptionRow,
  wholeNumberOptionRow,
} from './option-rows.ts'
import type { IamStatement, TemplateReference } from './resources.ts'
import { LOG_RETENTION_DAYS, parametersOptionRow, scheduleOptionRow } from './shared-option-rows.ts'

/** What the deployment of a consumer, its poller and its claimer, takes. */
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
  /** Entries per read, 1 to 10,000, instead of what the code says. */
  readonly batchSize?: number
  /** Handlers that run side by side, 1 to 1,000, instead of what the code says. */
  readonly concurrency?: number
  /**
   * Whether an invocation reads one batch (`once`), all there are (`drain`), or listens until its time is up (`listen`), instead of what the code says. Who listens needs a timeout of the schedule's period, a
   * handler's time and the reserve, so that the next one listens before it ends, and `listen: listening()` in the poller's code.
   */
  readonly mode?: PollMode
  /** Milliseconds after which an invocation reads and starts nothing new, 1 to 900,000, instead of what the code says. */
  readonly maxRunMs?: number
  /** Milliseconds for which an invocation that a publisher woke goes on listening, 0 to 900,000, instead of what the code says. */
  readonly lingerMs?: number
  /** Pollers that may run at once, 1 to 64, instead of what the code says, which is 4 unless it says so. */
  readonly maxPollers?: number
  /**
   * Which events are for this group, 1 to 10 patterns in the grammar of AWS's event filtering, instead of what the code says: what matches none of them is
   * ignored. The code must have `filter: filterPatterns()`, which brings along what reads them; else its functions fail when they load.
   */
  readonly filterPatterns?: readonly FilterPattern[]
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
  readonly targets?: OneOrMany<string | TemplateReference>
  /** IAM statements, added to the roles of both functions, for whatever else the handlers need. Default: none. */
  readonly statements?: OneOrMany<IamStatement>
  /**
   * ARN of the SQS queue, or a reference to that ARN as in `{ 'Fn::GetAtt': ['Failed', 'Arn'] }`, that takes what a schedule could not deliver. By default one is made, encrypted and for TLS
   * only, which keeps them for 14 days.
   */
  readonly failedSchedules?: string | TemplateReference
  /** What to be alarmed at; `false`: nothing. By default every alarm is made and notifies nobody. */
  readonly alarms?: AlarmOptions | false
  /** Whether there is a dashboard. Default `true`. */
  readonly dashboard?: boolean
  /** Id of the ElastiCache node whose memory the dashboard shows as well, or a reference to it. Default: none. */
  readonly cacheClusterId?: string | TemplateReference
}

/** The event as serverless.yml has it, at the poller: `- redisStream: { stream, group, claimer, … }`. */
export interface RedisStreamEvent extends EventSourceOptions {
  /** The function of this service that claims what the poller left behind; it shares the poller's event. */
  readonly claimer: string
}

type OneOrMany<T> = T | readonly T[]

/** Every option, resolved; what may be given one by one is a list. */
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
  readonly targets: readonly (string | TemplateReference)[]
  readonly statements: readonly IamStatement[]
  /** `undefined`: a queue is made. */
  readonly failedSchedules: string | TemplateReference | undefined
  readonly alarms: AlarmSettings | false
  readonly dashboard: boolean
  readonly cacheClusterId: string | TemplateReference | undefined
}

/** What the deployment says instead of the code. */
type Overrides = Pick<EventSourceOptions, (typeof RUN_OVERRIDE_NAMES)[number] | 'filterPatterns'>

const DEFAULTS = {
  schedule: 'rate(1 minute)',
  pollers: 1,
  enabled: true,
  logRetentionInDays: 30,
  dashboard: true,
}

/** What CloudWatch's 255 characters leave to the names, beside the longest stack's 128 and what the longest alarm says. */
const MAX_NAMES = 95

const functionText = textPatternOptionRow(
  /^([\w-]+(:[\w$-]+)?|arn:.+|.*\$\{Token\[.+)$/,
  "a function's name, name:qualifier, an ARN or a reference",
)
const target = optionRowOrReference({
  ...functionText,
  schema: { type: 'string', pattern: '^([\\w-]+(:[\\w$-]+)?|arn:.+)$' },
})
const OVERRIDES = {
  batchSize: numberOptionRow(CONSUMER_NUMBER_OPTIONS.batchSize),
  concurrency: numberOptionRow(CONSUMER_NUMBER_OPTIONS.concurrency),
  mode: oneOfWordsOptionRow(POLL_MODES),
  maxRunMs: numberOptionRow({ ...CONSUMER_NUMBER_OPTIONS.maxRunMs, max: 900_000 }), // what a function may take at all
  lingerMs: numberOptionRow({ ...CONSUMER_NUMBER_OPTIONS.lingerMs, max: 900_000 }),
  maxPollers: numberOptionRow(CONSUMER_NUMBER_OPTIONS.maxPollers),
  filterPatterns: filterPatternsOptionRow,
} satisfies Record<keyof Overrides, OptionRow>

const OPTIONS = {
  stream: textOptionRow,
  group: textOptionRow,
  schedule: scheduleOptionRow,
  pollers: numberOptionRow(CONSUMER_NUMBER_OPTIONS.maxPollers),
  enabled: booleanOptionRow,
  ...OVERRIDES,
  reservedConcurrency: nestedOptionsRow({
    poller: wholeNumberOptionRow(1, 1_000),
    claimer: wholeNumberOptionRow(1, 1_000),
  }),
  logRetentionInDays: oneOfNumbersOptionRow(LOG_RETENTION_DAYS),
  parameters: nestedOptionsRow({ poller: parametersOptionRow, claimer: parametersOptionRow }),
  targets: listOptionRow(target),
  statements: listOptionRow(objectOptionRow),
  failedSchedules: arnOptionRow('{ Fn::GetAtt: [<queue>, Arn] }'), // its Ref would be a URL
  alarms: optionRowOrFalse(alarmOptionsRow),
  dashboard: booleanOptionRow,
  cacheClusterId: optionRowOrReference(textOptionRow),
} satisfies Record<keyof EventSourceOptions, OptionRow>

const REQUIRED = ['stream', 'group']

/** The schema of the event, for osls' `defineFunctionEvent`. */
export const redisStreamEventSchema: JsonSchema = nestedOptionsRow({ claimer: textOptionRow, ...OPTIONS }, [
  ...REQUIRED,
  'claimer',
]).schema

/**
 * Fills in the defaults, and checks ranges and relations.
 *
 * @param action What the messages say cannot be done, as in `deploy consumer "billing"`.
 * @throws {TypeError | RangeError} The message names the rule and the value.
 */
export function resolveEventSource(action: string, given: EventSourceOptions): EventSourceSettings {
  assertObject(action, 'the options', given)
  checkOptions(action, OPTIONS, REQUIRED, given)
  checkRelations(action, given)
  checkNames(action, given)
  const { schedule, pollers, enabled, logRetentionInDays, dashboard } = given
  const settings = withDefaults(DEFAULTS, { schedule, pollers, enabled, logRetentionInDays, dashboard })
  return Object.freeze({
    stream: given.stream,
    group: given.group,
    ...settings,
    overrides: pick(given, Object.keys(OVERRIDES) as (keyof Overrides)[]),
    reservedConcurrency: { ...given.reservedConcurrency },
    parameters: { poller: listed(given.parameters?.poller), claimer: listed(given.parameters?.claimer) },
    targets: listed(given.targets),
    statements: listed(given.statements),
    failedSchedules: given.failedSchedules,
    cacheClusterId: given.cacheClusterId,
    alarms: given.alarms !== false && resolveAlarmOptions(action, given.alarms, settings),
  })
}

/**
 * What the environment of both functions says under `MILLRACE_EVENT_SOURCE`: an element a consumer that overrides something.
 *
 * @returns JSON, or `undefined` where nothing is overridden.
 */
export function encodeEnvironmentOverrides(consumers: readonly EventSourceSettings[]): string | undefined {
  const elements = consumers
    .filter(({ overrides }) => Object.keys(overrides).length > 0)
    .map(({ stream, group, overrides }) => ({ stream, group, ...overrides }))
  return elements.length > 0 ? JSON.stringify(elements) : undefined
}

function checkRelations(action: string, given: EventSourceOptions): void {
  checkPollers(action, given)
  try {
    consumerKeys(given.stream, given.group)
  } catch (cause) {
    throw new TypeError(`Cannot ${action}: ${(cause as Error).message}`, { cause })
  }
}

function checkPollers(action: string, given: EventSourceOptions): void {
  const {
    pollers = DEFAULTS.pollers,
    maxPollers = CONSUMER_NUMBER_OPTIONS.maxPollers.default,
    reservedConcurrency = {},
  } = given
  if (pollers > maxPollers) {
    throw wrongUseError(
      action,
      `pollers must be <= maxPollers, got pollers ${pollers} and maxPollers ${maxPollers}; set maxPollers here if there are to be more`,
      RangeError,
    )
  }
  const { poller = pollers } = reservedConcurrency
  if (poller < pollers) {
    throw wrongUseError(
      action,
      `reservedConcurrency.poller must be >= pollers, got reservedConcurrency.poller ${poller} and pollers ${pollers}`,
      RangeError,
    )
  }
}

/** Both names are in those of alarms and dashboard, and in the dimensions of every metric that these read. */
function checkNames(action: string, { stream, group, alarms, dashboard }: EventSourceOptions): void {
  if (alarms === false && dashboard === false) return
  const without = 'or alarms and dashboard must both be false'
  for (const [name, value] of Object.entries({ stream, group })) {
    if (/^[ -~]+$/.test(value) && /[A-Za-z0-9]/.test(value)) continue
    throw wrongUseError(
      action,
      `${name} must be printable ASCII with a letter or a digit, as CloudWatch wants it, ${without}, got ${quotedValue(value)}`,
    )
  }
  const length = stream.length + group.length
  if (length <= MAX_NAMES) return
  throw wrongUseError(
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
