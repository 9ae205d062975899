import { assertObject, withDefaults, wrongUseError } from '../core/options.ts'
import type { GroupRegistration } from '../core/registration.ts'
import { schedulePeriodMs } from '../core/schedule-period.ts'
import { checkJanitorStreams } from '../janitor/janitor-options.ts'
import {
  arnOptionRow,
  booleanOptionRow,
  checkOptions,
  type JsonSchema,
  listOptionRow,
  namedOptionsRow,
  nestedOptionsRow,
  type OptionRow,
  objectOptionRow,
  oneOfNumbersOptionRow,
  optionRowOrFalse,
  optionRowOrReference,
  textOptionRow,
  textPatternOptionRow,
  wholeNumberOptionRow,
} from './option-rows.ts'
import type { IamStatement, TemplateReference } from './resources.ts'
import { LOG_RETENTION_DAYS, parametersOptionRow, scheduleOptionRow } from './shared-option-rows.ts'

/** Which alarms a janitor has of a stream, and whom they notify. */
interface JanitorAlarmOptions {
  /** ARN of the SNS topic that the alarms notify, or a reference to it. Default: none. */
  readonly topic?: string | TemplateReference
  /** Milliseconds for which somebody may keep entries that are due to go, 60,000 or more; a longer time alarms, and so does a janitor that no longer reports. Default 86,400,000. */
  readonly maxBlockedMs?: number
}

/** What the deployment of a janitor takes for one stream: put at the janitor's function. */
export interface JanitorEventOptions {
  /** The stream's key, as in the code's `createJanitor`. */
  readonly stream: string
  /** Entries that stay, 0 or more, instead of what the code says. */
  readonly maxLength?: number
  /** Milliseconds that entries stay, 1 or more, instead of what the code says. */
  readonly retentionMs?: number
  /** Groups that the janitor registers, by name: owner, objective, retention, dead letters. They join those of the code. */
  readonly groups?: Readonly<Record<string, GroupRegistration>>
  /** Groups whose progress does not count, instead of what the code says. */
  readonly ignoreGroups?: readonly string[]
  /** How often the janitor is woken: `rate(…)` or `cron(…)` in UTC. Default `rate(5 minutes)`. */
  readonly schedule?: string
  /** Whether the schedule runs. Default `true`. */
  readonly enabled?: boolean
  /** Days that the function's log is kept. Default 30. */
  readonly logRetentionInDays?: number
  /** Names of the SSM parameters that the function may read and decrypt: one or a list. Default: none. */
  readonly parameters?: string | readonly string[]
  /** Name of the bucket that `s3Archive` writes to, or a reference to it: the function may put objects there. Default: none. */
  readonly archiveBucket?: string | TemplateReference
  /** IAM statements, added to the function's role. Default: none. */
  readonly statements?: IamStatement | readonly IamStatement[]
  /** ARN of the SQS queue, or a reference to it, that takes what the schedule could not deliver. By default the stack's is made. */
  readonly failedSchedules?: string | TemplateReference
  /** What to be alarmed at; `false`: nothing. By default every alarm is made and notifies nobody. */
  readonly alarms?: JanitorAlarmOptions | false
}

/** Every option, resolved. */
export interface JanitorSettings {
  readonly stream: string
  /** What was given, and overrides the code. */
  readonly overrides: Pick<JanitorEventOptions, (typeof OVERRIDE_NAMES)[number]>
  readonly schedule: string
  readonly enabled: boolean
  readonly logRetentionInDays: number
  readonly parameters: readonly string[]
  readonly archiveBucket: string | TemplateReference | undefined
  readonly statements: readonly IamStatement[]
  readonly failedSchedules: string | TemplateReference | undefined
  readonly alarms:
    | (Required<Omit<JanitorAlarmOptions, 'topic'>> &
        Pick<JanitorAlarmOptions, 'topic'> & { readonly tickMs: number | undefined })
    | false
}

const OVERRIDE_NAMES = ['maxLength', 'retentionMs', 'groups', 'ignoreGroups'] as const
const DEFAULTS = { schedule: 'rate(5 minutes)', enabled: true, logRetentionInDays: 30 }
const ALARM_DEFAULTS = { maxBlockedMs: 86_400_000 }
/** Characters that a function's environment has room for, beside all else: AWS takes 4 KB. */
const MOST_CHARACTERS = 3_000
const MOST = Number.MAX_SAFE_INTEGER

const registrationRow = nestedOptionsRow(
  {
    owner: textOptionRow,
    objective: nestedOptionsRow({ maxLag: wholeNumberOptionRow(0, MOST), maxAgeMs: wholeNumberOptionRow(1, MOST) }),
    retentionMs: wholeNumberOptionRow(0, MOST),
    deadLetters: nestedOptionsRow({
      owner: textOptionRow,
      retentionMs: wholeNumberOptionRow(1, MOST),
      stream: textOptionRow,
    }),
  },
  ['owner'],
)

const OPTIONS = {
  stream: textPatternOptionRow(
    /^[ -~]*[A-Za-z0-9][ -~]*$/,
    'printable ASCII with a letter or a digit, as CloudWatch wants it',
  ),
  maxLength: wholeNumberOptionRow(0, MOST),
  retentionMs: wholeNumberOptionRow(1, MOST),
  groups: namedOptionsRow(registrationRow),
  ignoreGroups: listOptionRow(textOptionRow),
  schedule: scheduleOptionRow,
  enabled: booleanOptionRow,
  logRetentionInDays: oneOfNumbersOptionRow(LOG_RETENTION_DAYS),
  parameters: parametersOptionRow,
  archiveBucket: optionRowOrReference(textOptionRow),
  statements: listOptionRow(objectOptionRow),
  failedSchedules: arnOptionRow('{ Fn::GetAtt: [<queue>, Arn] }'),
  alarms: optionRowOrFalse(
    nestedOptionsRow({ topic: arnOptionRow('{ Ref: … }'), maxBlockedMs: wholeNumberOptionRow(60_000, MOST) }),
  ),
} satisfies Record<keyof JanitorEventOptions, OptionRow>

/** The schema of the event, for osls' `defineFunctionEvent`. */
export const redisJanitorEventSchema: JsonSchema = nestedOptionsRow(OPTIONS, ['stream']).schema

/**
 * Fills in the defaults, and checks ranges and relations.
 *
 * @throws {TypeError | RangeError} The message names the rule and the value.
 */
export function resolveJanitorEvent(action: string, given: JanitorEventOptions): JanitorSettings {
  assertObject(action, 'the options', given)
  checkOptions(action, OPTIONS, ['stream'], given)
  const { stream, schedule, enabled, logRetentionInDays, archiveBucket, failedSchedules, alarms = {} } = given
  const overrides = Object.fromEntries(
    OVERRIDE_NAMES.flatMap((name) => {
      const value = name === 'ignoreGroups' ? given.ignoreGroups && listed(given.ignoreGroups) : given[name]
      return value === undefined ? [] : [[name, value]]
    }),
  )
  checkJanitorStreams(action, { stream, ...overrides })
  const settings = withDefaults(DEFAULTS, { schedule, enabled, logRetentionInDays })
  return Object.freeze({
    stream,
    overrides,
    ...settings,
    parameters: listed(given.parameters),
    archiveBucket,
    statements: listed(given.statements),
    failedSchedules,
    alarms: alarms !== false && {
      ...withDefaults(ALARM_DEFAULTS, { maxBlockedMs: alarms.maxBlockedMs }),
      ...(alarms.topic !== undefined && { topic: alarms.topic }),
      tickMs: schedulePeriodMs(settings.schedule),
    },
  })
}

/**
 * What the environment of a janitor says under `MILLRACE_JANITOR`: an element a stream that the deployment says something of.
 *
 * @returns JSON, or `undefined` where it says nothing.
 * @throws {RangeError} A function's environment has no room for it.
 */
export function encodeJanitorOverrides(action: string, janitors: readonly JanitorSettings[]): string | undefined {
  const elements = janitors
    .filter(({ overrides }) => Object.keys(overrides).length > 0)
    .map(({ stream, overrides }) => ({ stream, ...overrides }))
  if (elements.length === 0) return undefined
  const text = JSON.stringify(elements)
  if (text.length <= MOST_CHARACTERS) return text
  throw wrongUseError(
    action,
    `what it says of streams and groups must have ${MOST_CHARACTERS} characters or fewer as JSON, since AWS takes 4 KB of environment, got ${text.length}; give ` +
      'groups to createJanitor() in the code',
    RangeError,
  )
}

function listed<T>(given: T | readonly T[] | undefined): readonly T[] {
  return given === undefined ? [] : Array.isArray(given) ? given : [given as T]
}
