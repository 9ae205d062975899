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
  #isAlone = false

  constructor(run: Run, starter: RetryStarter) {
    this.#run = run
    this.#starter = starter
    this.#startedAt = run.time.clock.monotonic()
  }

  add(entries: readonly WaitingClaimedEntry[]): void {
    this.#waiting = [...this.#waiting, ...entries]
  }

  get isWaiting(): boolean {
    return this.#waiting.length > 0
  }

  /** The next one waits for nothing but that what runs has ended. */
  get isTurn(): boolean {
    return this.isWaiting && this.#isTurn
  }

  /** One is started, or runs, and nothing may run beside it. */
  get isAlone(): boolean {
    return this.#isAlone
  }

  /** Starts the next, or all. @throws {RedisConnectionError} No reply came. */
  async start(): Promise<void> {
    const { settings, routeBounds } = this.#run.parts.consumer
    this.#sinceMs = this.#run.time.clock.monotonic()
    this.#isAlone = this.#tookMs < routeBounds.longestTimeoutMs + (this.#sinceMs - this.#startedAt) / 2
    const { shared } = this.#run.parts
    if (this.#isAlone) await shared?.alone()
    const { concurrency } = settings
    const most = this.#isAlone ? 1 : ((await shared?.reserve(concurrency)) ?? concurrency)
    const next = this.#waiting.slice(0, most)
    this.#waiting = this.#waiting.slice(next.length)
    const waiting = await this.#starter.start(next).finally(() => this.#isAlone || shared?.unreserve())
    this.#waiting = [...waiting, ...this.#waiting]
  }

  /** They ended, or were not started. */
  hasRun(): void {
    this.#isAlone = false
    this.#run.parts.shared?.endAlone()
    this.#tookMs += this.#run.time.clock.monotonic() - this.#sinceMs
    this.#isTurn = false
  }

  /** The stream was read. */
  hasRead(): void {
    this.#isTurn = true
  }
}
