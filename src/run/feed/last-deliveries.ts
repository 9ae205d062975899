import type { Run } from '../run.ts'
import type { RetryStarter } from './retry-starter.ts'
import type { WaitingClaimedEntry } from './waiting-claimed-entry.ts'

/**
 * Last deliveries of a run that reads as well. Each runs with nothing beside it, since nothing would be left for it if another killed the process; between two of them the stream is read once, and once they
 * took half of the run's time they run beside others.
 */
export class LastDeliveries {
  readonly #run: Run
  readonly #starter: RetryStarter
  readonly #startedAt: number
  #waiting: readonly WaitingClaimedEntry[] = []
  /** Milliseconds that they took. */
  #tookMs = 0
  #sinceMs = 0
  #isTurn = true
  #isRunning = false

  constructor(run: Run, starter: RetryStarter) {
    this.#run = run
    this.#starter = starter
    this.#startedAt = run.time.clock.monotonic()
  }

  /** Those that have no delivery left become dead letters. */
  add(handed: readonly WaitingClaimedEntry[]): void {
    const { trusted, last, grouped, alone } = this.#starter.byKind(handed)
    this.#waiting = [...this.#waiting, ...trusted, ...last, ...grouped, ...alone]
  }

  get isWaiting(): boolean {
    return this.#waiting.length > 0
  }

  /** One runs, or waits for nothing but that what runs has ended: nothing starts beside it. */
  get isTurn(): boolean {
    return this.#isTurn && (this.isWaiting || this.#isRunning)
  }

  /** Starts the next, or all. @throws {RedisConnectionError} No reply came. */
  async start(): Promise<void> {
    const { concurrency, handlerTimeoutMs } = this.#run.parts.consumer.settings
    this.#sinceMs = this.#run.time.clock.monotonic()
    const mayBeAlone = this.#tookMs < handlerTimeoutMs + (this.#sinceMs - this.#startedAt) / 2
    const next = this.#waiting.slice(0, mayBeAlone ? 1 : concurrency)
    this.#waiting = this.#waiting.slice(next.length)
    this.#isRunning = true
    const waiting = await this.#starter.start(next)
    this.#waiting = [...waiting, ...this.#waiting]
  }

  /** They ended. */
  hasRun(): void {
    this.#tookMs += this.#run.time.clock.monotonic() - this.#sinceMs
    this.#isTurn = false
    this.#isRunning = false
  }

  /** The stream was read. */
  hasRead(): void {
    this.#isTurn = true
  }
}
