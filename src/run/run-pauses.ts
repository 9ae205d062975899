import type { Clock } from '../clock.ts'
import { isInEffect, type Pause, type Pauses, pausedType, typeOfPaused, WHOLE_GROUP } from '../core/pauses.ts'
import type { SeenPauses } from '../group/group.ts'
import type { RunReport } from './run-report.ts'
import type { RunTime } from './time.ts'

const NONE: Pauses = new Map()

/**
 * What is paused, as far as a run knows: each request that reads, takes, starts or renews sees it. A group that is paused as a whole ends the run.
 *
 * The server's clock decides whether a pause is over. The run knows a time that this clock has reached: the one that was last seen, or the start of the last pause,
 * and what has passed on its own monotonic clock since then. So nothing starts before its pause is over.
 */
export class RunPauses {
  readonly #clock: Clock
  readonly #time: RunTime
  readonly #report: RunReport
  #pauses = NONE
  /** The server's time at least, ahead of our monotonic clock. */
  #aheadMs = Number.NEGATIVE_INFINITY

  constructor(time: RunTime, report: RunReport) {
    this.#clock = time.clock
    this.#time = time
    this.#report = report
  }

  /** A request was answered. */
  see(seen: SeenPauses | undefined): void {
    if (!seen) {
      this.#pauses = NONE
      return
    }
    const { pauses, now = 0 } = seen
    const serverNow = Math.max(now, ...[...pauses.values()].map(({ at }) => at))
    this.#aheadMs = Math.max(this.#aheadMs, serverNow - this.#clock.monotonic())
    this.#pauses = pauses
    const types = [...pauses].flatMap(([type, pause]) => (this.#isInEffect(pause) ? [type] : []))
    this.#report.paused(types)
    if (types.includes(WHOLE_GROUP)) this.#time.interrupt()
  }

  /** How many types are paused, the whole group being one. */
  get number(): number {
    return [...this.#pauses.values()].filter((pause) => this.#isInEffect(pause)).length
  }

  /** The group as a whole. */
  get isAll(): boolean {
    return this.#has(WHOLE_GROUP)
  }

  /** What an entry of a type waits for; `undefined` if that is not paused. */
  conditionFor(type: string | undefined): string | undefined {
    return this.#pauses !== NONE && type !== undefined && this.#has(type) ? pausedType(type) : undefined
  }

  /** Whether what entries wait for was a pause, and it is over. */
  isOver(condition: string): boolean {
    const type = typeOfPaused(condition)
    return type !== undefined && !this.#has(type)
  }

  #has(type: string): boolean {
    const pause = this.#pauses.get(type)
    return pause !== undefined && this.#isInEffect(pause)
  }

  #isInEffect(pause: Pause): boolean {
    return isInEffect(pause, this.#aheadMs + this.#clock.monotonic())
  }
}
