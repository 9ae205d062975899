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

/** Called once a call that was let through has ended, with whether each of its events may have been added. */
export type EndAdmitted = (mayBeAdded: readonly boolean[]) => void

/**
 * Resolves once there is room in each stream that they go into: of a set, none is written before.
 *
 * @param streams Of each event.
 * @throws {BacklogFullError} There was no room in time.
 * @throws {RedisReplyError | RedisConnectionError} It could not be measured.
 */
export async function admitAll(
  limits: ReadonlyMap<string, BacklogLimit>,
  streams: readonly string[],
): Promise<EndAdmitted> {
  const places = Map.groupBy(streams.keys(), (place) => streams[place] as string)
  const calls = [...places].map(async ([stream, own]) => {
    const end = await limits.get(stream)?.admit(own.length)
    return (mayBeAdded: readonly boolean[]) => end?.(own.filter((place) => mayBeAdded[place]).length)
  })
  try {
    const ends = await Promise.all(calls)
    return (mayBeAdded) => {
      for (const end of ends) end(mayBeAdded)
    }
  } catch (error) {
    // what one stream refuses takes no room in the others, also where they let it through later
    for (const call of calls)
      call.then(
        (end) => end([]),
        () => {},
      )
    throw error
  }
}

/**
 * Lets calls of one publisher through, in order, while the slowest registered group of a stream has less than `maxBacklog` to do: what the server said last, at most a second ago, and
 * what this publisher has added since, or may add yet.
 */
export class BacklogLimit {
  readonly #settings: BacklogSettings
  readonly #measure: MeasureUndone
  /** When the server answered last, or failed to. */
  #measuredAt = -Infinity
  /** What was measured last; `undefined`: no group is registered. */
  #undone: Promise<Undone | undefined> = Promise.resolve(undefined)
  /** Events of calls that have not ended. */
  #underWay = 0
  /** Events that may not be in what was measured last. */
  #added = 0
  #last: Promise<unknown> = Promise.resolve()

  constructor(settings: BacklogSettings, measure: MeasureUndone) {
    this.#settings = settings
    this.#measure = measure
  }

  /**
   * Resolves once so many events may be published.
   *
   * @returns To be called once the call has ended, with how many may have been added.
   * @throws {BacklogFullError} There was no room in time.
   * @throws {RedisReplyError | RedisConnectionError} It could not be measured.
   */
  async admit(events: number): Promise<(added: number) => void> {
    const { clock, waitMs } = this.#settings
    const until = clock.monotonic() + waitMs
    const turn = this.#last.then(() => this.#admit(events, until))
    this.#last = turn.catch(() => {})
    await turn
    return (added) => {
      this.#underWay -= events
      this.#added -= events - added
    }
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
    this.#underWay += events
    this.#added += events
  }

  async #measured(): Promise<Undone | undefined> {
    const { stream, clock } = this.#settings
    if (clock.monotonic() - this.#measuredAt < MEASURED_EVERY_MS) return this.#undone
    // the server may be asked before it is given what is under way
    this.#added = this.#underWay
    this.#undone = this.#measure(stream)
    // those that wait behind a server that hangs end with this call, not each after one of its own
    return this.#undone.finally(() => (this.#measuredAt = clock.monotonic()))
  }
}

function sleepUntil(clock: Clock, at: number): Promise<void> {
  return new Promise((resolve) => void clock.after(Math.max(0, at - clock.monotonic()), resolve))
}
