import type { Clock } from '../clock.ts'
import { isoTime } from '../core/iso-time.ts'
import { schedulePeriodMs as ratePeriodOf } from '../core/schedule-period.ts'
import { quotedValue } from '../errors.ts'

/** A schedule that wakes a function. */
export interface ScheduleDefinition {
  readonly name: string
  /** `rate(1 minute)`. */
  readonly expression: string
  /** A period to go by instead, in milliseconds. */
  readonly everyMs?: number
  /** The function it wakes. */
  readonly functionName: string
  /** The event, as JSON. Default: what EventBridge Scheduler sends. */
  readonly input?: string
  /** Default true. */
  readonly enabled?: boolean
}

export interface LocalSchedulesOptions {
  readonly clock: Clock
  readonly region: string
  readonly accountId: string
  /** @param payload JSON. */
  wake(functionName: string, payload: string): void
}

/**
 * The period of a rate expression, in milliseconds.
 *
 * @throws {RangeError} Not `rate(…)`, or not as EventBridge takes it.
 * @see https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
 */
export function ratePeriodMs(expression: string): number {
  const period = ratePeriodOf(expression)
  if (period) return period
  throw new RangeError(
    `Cannot run schedule ${quotedValue(expression)}: only rate(n minutes), rate(n hours) and rate(n days) are run locally`,
  )
}

/** Schedules that run: the first time one period after their start, without retry, without a flexible window. */
export class LocalSchedules {
  readonly #definitions: readonly ScheduleDefinition[]
  readonly #options: LocalSchedulesOptions
  readonly #cancels = new Map<ScheduleDefinition, () => void>()

  /** @throws {RangeError} One of the expressions is not supported; none is started then. */
  constructor(definitions: readonly ScheduleDefinition[], options: LocalSchedulesOptions) {
    this.#definitions = definitions
    this.#options = options
    const periods = definitions.map(({ expression, everyMs }) => everyMs ?? ratePeriodMs(expression))
    for (const [index, definition] of definitions.entries())
      if (definition.enabled !== false) this.#start(definition, periods[index] as number)
  }

  /**
   * Wakes now what the schedule wakes, enabled or not; without a name, what all enabled ones do.
   *
   * @throws {RangeError} No schedule has that name.
   */
  tick(name?: string): void {
    const chosen = this.#definitions.filter((one) => (name === undefined ? one.enabled !== false : one.name === name))
    if (name !== undefined && chosen.length === 0)
      throw new RangeError(`Cannot tick: no schedule is named ${quotedValue(name)}`)
    for (const definition of chosen) this.#wake(definition)
  }

  stop(): void {
    for (const cancel of this.#cancels.values()) cancel()
    this.#cancels.clear()
  }

  #start(definition: ScheduleDefinition, periodMs: number): void {
    const { clock } = this.#options
    const from = clock.monotonic()
    const arm = (round: number) => {
      // reckoned from the start, so that late timers do not add up
      const cancel = clock.after(Math.max(0, from + round * periodMs - clock.monotonic()), () => {
        arm(round + 1)
        this.#wake(definition)
      })
      this.#cancels.set(definition, cancel)
    }
    arm(1)
  }

  #wake(definition: ScheduleDefinition): void {
    this.#options.wake(definition.functionName, definition.input ?? JSON.stringify(this.#event(definition)))
  }

  /** What EventBridge Scheduler sends where the schedule says nothing. */
  #event({ name }: ScheduleDefinition): unknown {
    const { clock, region, accountId } = this.#options
    return {
      version: '0',
      id: crypto.randomUUID(),
      'detail-type': 'Scheduled Event',
      source: 'aws.scheduler',
      account: accountId,
      time: isoTime(clock.now()).replace(/\.\d+Z$/, 'Z'),
      region,
      resources: [`arn:aws:scheduler:${region}:${accountId}:schedule/default/${name}`],
      detail: '{}',
    }
  }
}
