import { withDefaults, wrongUseError } from '../core/options.ts'
import { schedulePeriodMs } from '../core/schedule-period.ts'
import { arnOptionRow, nestedOptionsRow, optionRowOrFalse, wholeNumberOptionRow } from './option-rows.ts'
import type { TemplateReference } from './resources.ts'

/** Which alarms a consumer has, and whom they notify. */
export interface AlarmOptions {
  /** ARN of the SNS topic that the alarms notify, or a reference to it. Default: none. */
  readonly topic?: string | TemplateReference
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

/** Every alarm option, resolved. */
export interface AlarmSettings extends Required<Omit<AlarmOptions, 'topic'>> {
  /** `false`, too, while the schedules are disabled. */
  readonly noPollMs: number | false
  /** Milliseconds between two runs: the schedule's, or a third of `noPollMs` where it has no fixed period; `undefined`: who knows. */
  readonly tickMs: number | undefined
  /** `undefined`: the alarms notify nobody. */
  readonly topic: string | TemplateReference | undefined
}

const ALARM_DEFAULTS = {
  oldestPendingMs: 900_000, // an event whose handler always fails is a dead letter by then
  maxLag: 10_000,
  deadLettersPer5Minutes: 0,
}

const MIN_SILENCE_MS = 180_000
/** Three periods of CloudWatch's longest. */
const MAX_SILENCE_MS = 3 * 86_400_000

const MOST = Number.MAX_SAFE_INTEGER

/** The rules of the options. */
export const alarmOptionsRow = nestedOptionsRow({
  topic: arnOptionRow('{ Ref: … }'), // of a topic, that is the ARN
  noPollMs: optionRowOrFalse(wholeNumberOptionRow(MIN_SILENCE_MS, MAX_SILENCE_MS)),
  oldestPendingMs: wholeNumberOptionRow(1_000, MOST),
  maxLag: wholeNumberOptionRow(0, MOST),
  deadLettersPer5Minutes: wholeNumberOptionRow(0, MOST),
})

/**
 * Fills in the defaults, and checks the alarms' metrics against the schedule.
 *
 * @throws {TypeError | RangeError} The message names the rule and the value.
 */
export function resolveAlarmOptions(
  action: string,
  { topic, noPollMs, ...limits }: AlarmOptions = {},
  { schedule, enabled }: { readonly schedule: string; readonly enabled: boolean },
): AlarmSettings {
  const period = schedulePeriodMs(schedule)
  if (noPollMs && period !== undefined) checkSilence(action, noPollMs, period, schedule)
  const tickMs = period ?? (noPollMs ? noPollMs / 3 : undefined)
  const silence = enabled && (noPollMs ?? threePeriodsOf(action, period, schedule))
  return Object.freeze({ topic, noPollMs: silence, tickMs, ...withDefaults(ALARM_DEFAULTS, limits) })
}

/** A silence that the schedule itself keeps would alarm for ever. */
function checkSilence(action: string, noPollMs: number, period: number, schedule: string): void {
  const least = threePeriodsOf(action, period, schedule)
  if (noPollMs >= least) return
  throw wrongUseError(
    action,
    `alarms.noPollMs must be >= ${least}, three periods of the schedule ${schedule}, got ${noPollMs}`,
    RangeError,
  )
}

function threePeriodsOf(action: string, period: number | undefined, schedule: string): number {
  if (period === undefined) {
    throw wrongUseError(
      action,
      `alarms.noPollMs must be given where the schedule has no fixed period, got schedule ${schedule}; false leaves that ` +
        'alarm out',
    )
  }
  if (3 * period <= MAX_SILENCE_MS) return Math.max(MIN_SILENCE_MS, 3 * period)
  throw wrongUseError(
    action,
    `alarms.noPollMs must be false where the schedule is slower than once a day, got schedule ${schedule}; nothing alarms ` +
      'of silence then',
  )
}
