import type { Clock } from '../clock.ts'
import type { MeasureUndone, Undone } from '../group/undone.ts'
import { BacklogFullError } from './backlog-full-error.ts'

/** How often the server is asked, at most. */
const MEASURED_EVERY_MS = 1_000

/** What a publisher does about a backlog. */
export interface BacklogSettings {
  readonly stream: string
  readonly maxBacklog: number
  /** Milliseconds for which one call waits for room; 0: it is refused at once. */
  readonly waitMs: number
  readonly clock: Clock
}

/**
 * Lets calls of one publisher through, in order, while the slowest registered group has less than `maxBacklog` to do: what the server said last, at most a second ago, and what this
 * publisher has added since.
 */
export class BacklogLimit {
  readonly #settings: BacklogSettings
  readonly #measure: MeasureUndone
  #measuredAt = -Infinity
  /** What was measured last; `undefined`: no group is registered. */
  #undone: Promise<Undone | undefined> = Promise.resolve(undefined)
  #added = 0
  #last: Promise<unknown> = Promise.resolve()

  constructor(settings: BacklogSettings, measure: MeasureUndone) {
    this.#settings = settings
    this.#measure = measure
  }

  /**
   * Resolves once so many events may be published.
   *
   * @throws {BacklogFullError} There was no room in time.
   * @throws {RedisReplyError | RedisConnectionError} It could not be measured.
   */
  async admit(events: number): Promise<void> {
    const { clock, waitMs } = this.#settings
    const until = clock.monotonic() + waitMs
    const turn = this.#last.then(() => this.#admit(events, until))
    this.#last = turn.catch(() => {})
    return turn
  }

  async #admit(events: number, until: number): Promise<void> {
    const { stream, maxBacklog, clock } = this.#settings
    for (;;) {
      const undone = await this.#measured()
      const backlog = (undone?.entries ?? 0) + this.#added
      if (!undone || backlog < maxBacklog) break
      const again = this.#measuredAt + MEASURED_EVERY_MS
      if (again > until) throw new BacklogFullError(stream, undone.group, backlog, maxBacklog)
      await sleepUntil(clock, again)
    }
    this.#added += events
  }

  #measured(): Promise<Undone | undefined> {
    const { stream, clock } = this.#settings
    if (clock.monotonic() - this.#measuredAt < MEASURED_EVERY_MS) return this.#undone
    this.#measuredAt = clock.monotonic()
    this.#added = 0
    this.#undone = this.#measure(stream)
    return this.#undone
  }
}

function sleepUntil(clock: Clock, at: number): Promise<void> {
  return new Promise((resolve) => void clock.after(Math.max(0, at - clock.monotonic()), resolve))
}
