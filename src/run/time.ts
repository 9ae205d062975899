import type { Clock } from '../clock.ts'
import type { TimeBudget } from '../core/budget.ts'
import { handlerRoundsLeft, mayStartHandler } from '../core/budget.ts'

/** What of a consumer's settings bounds a run's time: how long its longest handler may take. */
interface TimeSettings {
  readonly handlerTimeoutMs: number
  readonly reserveMs: number
}

/** What waits for others is handed over that long before nothing could start any more. */
const WAIT_MARGIN_MS = 50

/** The time of a run: how much is left for what, until it is over or something has ended it before. */
export class RunTime {
  readonly clock: Clock
  readonly #budget: TimeBudget
  readonly #settings: TimeSettings
  readonly #signal: AbortSignal | undefined
  #isStopped = false
  readonly #interrupted = new Set<() => void>()

  constructor(clock: Clock, budget: TimeBudget, settings: TimeSettings, signal: AbortSignal | undefined) {
    this.clock = clock
    this.#budget = budget
    this.#settings = settings
    this.#signal = signal
  }

  /** Nothing starts any more. */
  stop(): void {
    this.#isStopped = true
  }

  /** Nothing starts any more, and whoever waits for a time hears of it. */
  interrupt(): void {
    if (this.#isStopped) return
    this.#isStopped = true
    for (const callback of this.#interrupted) queueMicrotask(callback)
  }

  /** It was stopped, or somebody asked to stop: more than the time ends the run. */
  get isStopped(): boolean {
    return this.#isStopped || this.#signal?.aborted === true
  }

  /** Calls back when somebody asks to stop, or pauses the group. @returns What takes that back. */
  onAbort(callback: () => void): () => void {
    this.#signal?.addEventListener('abort', callback, { once: true })
    this.#interrupted.add(callback)
    return () => {
      this.#signal?.removeEventListener('abort', callback)
      this.#interrupted.delete(callback)
    }
  }

  /** Whether a handler that starts now, or at that time of the monotonic clock, can be settled in time. @param handlerTimeoutMs Its own. Default: that of the longest. */
  mayStart(at = this.clock.monotonic(), handlerTimeoutMs = this.#settings.handlerTimeoutMs): boolean {
    return !this.isStopped && mayStartHandler(this.#budget, at, handlerTimeoutMs + this.#settings.reserveMs)
  }

  /** How many handlers can still run one after the other, each taking all its time. */
  roundsLeft(): number {
    return this.isStopped ? 0 : handlerRoundsLeft(this.#budget, this.clock.monotonic(), this.#settings.handlerTimeoutMs)
  }

  /** Milliseconds for which an event may wait for others and still be handled. */
  waitableMs(): number {
    const { runUntil, deadline, neededMs } = this.#budget
    return Math.min(runUntil, deadline - neededMs) - this.clock.monotonic() - WAIT_MARGIN_MS
  }

  /** Milliseconds until no handler of that time may start any more, and one more. */
  startableMs(handlerTimeoutMs: number): number {
    if (this.isStopped) return 0
    const { runUntil, deadline } = this.#budget
    return Math.min(runUntil, deadline - handlerTimeoutMs - this.#settings.reserveMs) - this.clock.monotonic() + 1
  }

  /** Whether a fresh invocation of the same function would have at least twice the time. */
  isMostlyOver(): boolean {
    const { startedAt, deadline } = this.#budget
    return this.clock.monotonic() - startedAt >= (deadline - startedAt) / 2
  }

  /** Milliseconds until the invocation is cut off. */
  leftMs(): number {
    return this.#budget.deadline - this.clock.monotonic()
  }

  /** Milliseconds until settling needs all the time that is left. */
  spareMs(): number {
    return this.leftMs() - this.#settings.reserveMs
  }
}
