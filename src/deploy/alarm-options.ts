import { boolean, integerFrom, object, refuseUnknownKeys, withDefaults } from '../core/options.ts'
import { schedulePeriodMs } from './schedule-period.ts'

/** When a consumer's alarms go off. `false` does without that alarm. */
export interface AlarmOptions {
  /**
   * Milliseconds without a single poll, rounded up to whole minutes three times over, at most three days. Default: 180,000, or three
   * periods of the schedule where that is longer; to be given where the schedule is no `rate(…)`. `false`: silence is fine, so that
   * no alarm takes a missing measurement for a bad one.
   */
  readonly noPollMs?: number | false | undefined
  /** Milliseconds that the oldest pending entry may have been waiting, first delivery to now. Default 900,000. */
  readonly oldestPendingMs?: number | false | undefined
  /** Entries that may be in the stream and not delivered yet. Default 10,000. */
  readonly lag?: number | false | undefined
  /** Dead letters within five minutes from which on the alarm goes off. Default 1. */
  readonly deadLetters?: number | false | undefined
  /** In how many of the last five periods of the schedule an invocation must fail, 1 to 5; for each function. Default 3. */
  readonly failingPeriods?: number | false | undefined
  /** Whether one lost entry sets off an alarm. Default true. */
  readonly lost?: boolean | undefined
}

/** Every limit, resolved. */
export interface AlarmLimits {
  readonly noPollMs: number | false
  readonly oldestPendingMs: number | false
  readonly lag: number | false
  readonly deadLetters: number | false
  readonly failingPeriods: number | false
  readonly lost: boolean
}

const LIMITS = { oldestPendingMs: 900_000, lag: 10_000, deadLetters: 1, failingPeriods: 3, lost: true }

const MIN_SILENCE_MS = 180_000
/** Three periods of a day each, the longest that CloudWatch has. */
const MAX_SILENCE_MS = 3 * 86_400_000

/** The least and the most of each number. */
const RANGES = {
  noPollMs: [MIN_SILENCE_MS, MAX_SILENCE_MS],
  oldestPendingMs: [1, Number.MAX_SAFE_INTEGER],
  lag: [1, Number.MAX_SAFE_INTEGER],
  deadLetters: [1, Number.MAX_SAFE_INTEGER],
  failingPeriods: [1, 5],
} as const

/** What wakes the functions whose alarms these are. */
export interface AlarmSchedule {
  readonly expression: string
  /** False: nothing is expected to run, and silence is fine. */
  readonly enabled: boolean
}

/**
 * Fills in the defaults, and checks the ranges.
 *
 * @param action What the errors say after "Cannot".
 * @throws {TypeError | RangeError} The message names the rule and the value.
 */
export function resolveAlarmOptions(action: string, schedule: AlarmSchedule, options: AlarmOptions = {}): AlarmLimits {
  object(action, 'alarms', options)
  refuseUnknownKeys(`${action}: alarms`, options, [...Object.keys(RANGES), 'lost'])
  const noPollMs = schedule.enabled && (options.noPollMs ?? defaultNoPollMs(action, schedule.expression))
  const limits = withDefaults<AlarmLimits>({ ...LIMITS, noPollMs }, { ...options, noPollMs })
  for (const [name, [min, max]] of Object.entries(RANGES)) {
    const limit = limits[name as keyof typeof RANGES]
    if (limit !== false) integerFrom(action, `alarms.${name}`, limit, min, max)
  }
  boolean(action, 'alarms.lost', limits.lost)
  return limits
}

function defaultNoPollMs(action: string, schedule: string): number {
  const period = schedulePeriodMs(schedule)
  const silence = Math.max(MIN_SILENCE_MS, 3 * (period ?? Number.POSITIVE_INFINITY))
  if (silence <= MAX_SILENCE_MS) return silence
  const why = period === undefined ? 'has no fixed period' : 'is slower than once a day'
  throw new TypeError(
    `Cannot ${action}: alarms.noPollMs must be a number of milliseconds or false where the schedule ${why}, ` +
      `got undefined with ${schedule}`,
  )
}
