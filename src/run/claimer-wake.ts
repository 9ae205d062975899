import { answerWithin } from '../clock.ts'
import { CALL_MS } from '../core/call-limits.ts'
import { wrongUseError } from '../core/options.ts'
import type { Group } from '../group/group.ts'
import type { RunTime } from './time.ts'

/** Wakes the claimer of the same consumers, so that what failed is retried when it is due. What `wakeClaimer` of `millrace/lambda` makes. */
export interface ClaimerWake {
  /** Resolves once the claimer's invocation was accepted. */
  wake(): Promise<void>
  /** Called with the error of a `wake` that failed: the schedule still finds what is due. */
  onError(error: Error): void
}

/** What is due later than that the claimer's schedule has in time. */
const WAKE_WITHIN_MS = 60_000

/** Wakes a claimer for what a run sets aside until a time. Nothing that goes wrong with it is the run's trouble. */
export class ClaimerCalls {
  readonly #wake: ClaimerWake
  readonly #group: Group
  readonly #time: RunTime
  /** When somebody comes, on the monotonic clock, as far as this run knows. */
  #plannedAt = Infinity
  #calling: Promise<void> = Promise.resolve()

  constructor(wake: ClaimerWake, group: Group, time: RunTime) {
    this.#wake = wake
    this.#group = group
    this.#time = time
  }

  /** Something is due in so many milliseconds. */
  plan(dueInMs: number): void {
    const { clock } = this.#time
    const now = clock.monotonic()
    const at = now + dueInMs
    const isPlanned = this.#plannedAt <= at && this.#plannedAt > now
    if (isPlanned || dueInMs > WAKE_WITHIN_MS || this.#time.spareMs() < CALL_MS.min) return
    this.#plannedAt = at
    this.#calling = this.#calling.then(() => this.#call(dueInMs))
  }

  /** Resolves once no call is under way. */
  async end(): Promise<void> {
    await this.#calling
  }

  async #call(dueInMs: number): Promise<void> {
    try {
      const spareMs = this.#time.spareMs()
      if (spareMs < CALL_MS.min || !(await this.#group.planClaim(dueInMs))) return
      await answerWithin(this.#time.clock, Math.min(CALL_MS.max, spareMs), this.#wake.wake())
    } catch (error) {
      try {
        this.#wake.onError(error as Error)
      } catch {} // not the run's trouble either
    }
  }
}

/** @throws {TypeError} Not a way to wake a claimer. */
export function assertClaimerWake(action: string, wake: ClaimerWake): void {
  if (typeof wake?.wake === 'function' && typeof wake.onError === 'function') return
  throw wrongUseError(action, 'wake must come from wakeClaimer of millrace/lambda')
}
