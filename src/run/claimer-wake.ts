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

/** In less time nobody is called: the call might be accepted, and count as failed. Nobody waits longer than the second. */
const WAKE_MIN_MS = 500
const WAKE_TIMEOUT_MS = 2_000

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
    if (isPlanned || dueInMs > WAKE_WITHIN_MS || this.#time.spareMs() < WAKE_MIN_MS) return
    this.#plannedAt = at
    this.#calling = this.#calling.then(() => this.#call(dueInMs))
  }

  /** Resolves once no call is under way. */
  async end(): Promise<void> {
    await this.#calling
  }

  /** Waits for a call, and no longer than that. */
  async #within(ms: number, calling: Promise<void>): Promise<void> {
    const late = Promise.withResolvers<never>()
    const error = new Error(`no answer within ${Math.floor(ms)} ms`)
    const cancel = this.#time.clock.after(ms, () => late.reject(error))
    await Promise.race([calling, late.promise]).finally(cancel)
  }

  async #call(dueInMs: number): Promise<void> {
    try {
      const spareMs = this.#time.spareMs()
      if (spareMs < WAKE_MIN_MS || !(await this.#group.planClaim(dueInMs))) return
      await this.#within(Math.min(WAKE_TIMEOUT_MS, spareMs), this.#wake.wake())
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
