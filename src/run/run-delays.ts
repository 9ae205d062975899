import type { Clock } from '../clock.ts'
import type { Promotion } from '../define/delay-promoter.ts'
import type { SeenDelays } from '../group/group.ts'
import { classifyReplyError } from '../group/redis/reply-errors.ts'
import type { RunReport } from './run-report.ts'

/** After a refusal nothing is asked for so long: it would be refused again, or it passes in a moment. */
const REFUSED_MS = { lasting: 5_000, passing: 250 }

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
  #seenAt = Number.NEGATIVE_INFINITY
  /** The server's time, ahead of the monotonic clock. */
  #aheadMs: number | undefined
  #notBefore = Number.NEGATIVE_INFINITY
  /** A refusal that may have passed by now. */
  #passing: Error | undefined
  #waking: Promise<unknown> = Promise.resolve()

  /** @param promote Promotes a page. @param note Takes refusals. */
  constructor(promote: () => Promise<Promotion>, clock: Clock, report: RunReport, note: (error: Error) => void) {
    this.#promote = promote
    this.#clock = clock
    this.#report = report
    this.#note = note
  }

  /** A request was answered. @param seen `undefined`: nothing is delayed. */
  see(seen: SeenDelays | undefined): void {
    this.#seenAt = this.#clock.monotonic()
    if (seen?.now !== undefined) this.#aheadMs = seen.now - this.#clock.monotonic()
    if (!seen) this.#dueAt = Infinity
    else this.#dueAt = this.#aheadMs === undefined ? undefined : seen.nextAt - this.#aheadMs
  }

  /** Milliseconds until something has to be promoted; Infinity if nothing is delayed. */
  get dueInMs(): number {
    const now = this.#clock.monotonic()
    return Math.max(0, (this.#dueAt ?? now) - now, this.#notBefore - now)
  }

  /** Nobody has seen for that long when the next one is due. */
  isUnseenFor(ms: number): boolean {
    return this.#clock.monotonic() - this.#seenAt >= ms
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
    const { promoted, nowMs, nextDueAt, refusals, woken } = await this.#promote()
    this.#report.promoted(promoted)
    this.see(nextDueAt === undefined ? undefined : { nextAt: nextDueAt, now: nowMs })
    if (woken) this.#waking = Promise.all([this.#waking, woken])
    const [refusal] = refusals
    this.#passing = undefined
    if (!refusal) return
    const { isPassing } = classifyReplyError(refusal.message)
    this.#notBefore = this.#clock.monotonic() + (isPassing ? REFUSED_MS.passing : REFUSED_MS.lasting)
    if (isPassing) this.#passing = refusal
    else this.#note(refusal)
  }

  /** Resolves once nobody is being woken. What was refused to the end is noted. */
  async end(): Promise<void> {
    if (this.#passing) this.#note(this.#passing)
    this.#passing = undefined
    await this.#waking
  }
}
