import type { Clock } from '../clock.ts'
import type { Promotion } from '../define/delay-promoter.ts'
import type { SeenDelays } from '../group/group.ts'
import type { RunReport } from './run-report.ts'

/** After a refusal nothing is asked for so long: it would be refused again. */
const REFUSED_MS = 5_000

/**
 * Promotes delayed events of a run's stream, as far as the run knows that some are due: each request that reads, or takes a slot, sees when the next one is. The server's clock decides; the run
 * knows a time of it, and what has passed on its own monotonic clock since then.
 */
export class RunDelays {
  readonly #promote: () => Promise<Promotion>
  readonly #clock: Clock
  readonly #report: RunReport
  readonly #note: (error: Error) => void
  /** When the next is due, on the monotonic clock; `undefined`: the server has to be asked. */
  #dueAt: number | undefined = Infinity
  /** The server's time, ahead of the monotonic clock. */
  #aheadMs: number | undefined
  #notBefore = Number.NEGATIVE_INFINITY

  /** @param promote Promotes a page. @param note Takes refusals. */
  constructor(promote: () => Promise<Promotion>, clock: Clock, report: RunReport, note: (error: Error) => void) {
    this.#promote = promote
    this.#clock = clock
    this.#report = report
    this.#note = note
  }

  /** A request was answered. @param seen `undefined`: nothing is delayed. */
  see(seen: SeenDelays | undefined): void {
    if (seen?.now !== undefined) this.#aheadMs = seen.now - this.#clock.monotonic()
    if (!seen) this.#dueAt = Infinity
    else this.#dueAt = this.#aheadMs === undefined ? undefined : seen.nextAt - this.#aheadMs
  }

  /** Milliseconds until something has to be promoted; Infinity if nothing is delayed. */
  get dueInMs(): number {
    const now = this.#clock.monotonic()
    return Math.max(0, (this.#dueAt ?? now) - now, this.#notBefore - now)
  }

  get isDue(): boolean {
    return this.dueInMs <= 0
  }

  /**
   * Promotes a page of what is due.
   *
   * @throws {RedisConnectionError} No reply came.
   * @throws {RedisReplyError} The server refused the call as a whole.
   */
  async promote(): Promise<void> {
    const { promoted, nowMs, nextDueAt, refusals } = await this.#promote()
    this.#report.promoted(promoted)
    this.see(nextDueAt === undefined ? undefined : { nextAt: nextDueAt, now: nowMs })
    for (const refusal of refusals) this.#note(refusal)
    if (refusals.length > 0) this.#notBefore = this.#clock.monotonic() + REFUSED_MS
  }
}
