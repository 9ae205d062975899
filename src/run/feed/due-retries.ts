import type { MemberPlaces } from '../../define/set-places.ts'
import { retryOperationsOf } from '../../group/redis/redis-retries.ts'
import type { CallPool } from '../call-pool.ts'
import type { Run } from '../run.ts'
import { LastDeliveries } from './last-deliveries.ts'
import { RetryStarter } from './retry-starter.ts'
import { StartPace } from './start-pace.ts'
import type { WaitingClaimedEntry } from './waiting-claimed-entry.ts'

/** Nothing of what is due could be started: how soon it is asked for again. */
const STUCK_MS = 250

/** Others set aside as well: how often is asked what is due. */
const ASK_DUE_MS = 900

/** A timer of more would end at once. */
const LONGEST_TIMER_MS = 86_400_000

/** Takes what was set aside once it is due, for a run that reads as well, and has the pool run it. */
export class DueRetries {
  readonly last: LastDeliveries
  readonly #run: Run
  readonly #pool: CallPool
  readonly #starter: RetryStarter
  readonly #pace: StartPace
  /** When the next of it is due, on the monotonic clock, as far as is known; and when that was asked. */
  #dueAt: number
  #askedAt = Number.NEGATIVE_INFINITY
  /** Nothing is taken before: what is due could not be started. */
  #takeAt = Number.NEGATIVE_INFINITY
  /** When the last take was answered. */
  #takenAt: number | undefined
  #cancel: () => void = () => {}

  constructor(run: Run, pool: CallPool) {
    this.#run = run
    this.#pool = pool
    this.#starter = new RetryStarter(run, retryOperationsOf(run.parts.group), pool)
    this.last = new LastDeliveries(run, this.#starter)
    this.#pace = new StartPace(run.parts.consumer.settings.concurrency)
    this.#dueAt = this.#now
  }

  get #now(): number {
    return this.#run.time.clock.monotonic()
  }

  /** Milliseconds until the next is due and may be taken, as far as is known. */
  get dueInMs(): number {
    return Math.max(this.#nextAt, this.#takeAt) - this.#now
  }

  /** It is time to ask. */
  get asksDue(): boolean {
    return this.#now >= this.#askedAt + ASK_DUE_MS
  }

  /** @param isKnown Somebody says regularly what is due. */
  mayTake(isKnown: boolean): boolean {
    const now = this.#now
    const isDue = now >= this.#nextAt || (!isKnown && this.asksDue)
    return isDue && now >= this.#takeAt && this.#pool.hasRoom && !this.last.isWaiting
  }

  /** Takes as much as there is room for. @returns Whether anything came. @throws {RedisConnectionError} No reply came. */
  async take(): Promise<boolean> {
    const { policies } = this.#run
    const sentAt = this.#now
    // until it is answered, and where it is not
    this.#takeAt = sentAt + STUCK_MS
    if (this.#takenAt !== undefined) this.#pace.note(this.#pool.isIdle ? sentAt - this.#takenAt : undefined)
    const free = Math.max(1, this.#pace.entries - this.#pool.load + this.#pool.waiting)
    const room = policies ? policies.limit(free) : free
    const { shared } = this.#run.parts
    return shared && room > 0 ? this.#takeInSet(room, shared) : this.#takeNow(room)
  }

  /** As much as there is room for. In a set, only what has a place: counts rise when handlers start. */
  async #takeInSet(most: number, shared: MemberPlaces): Promise<boolean> {
    const room = await shared.reserve(most)
    return this.#takeNow(room).finally(() => shared.unreserve())
  }

  async #takeNow(room: number): Promise<boolean> {
    const { policies } = this.#run
    const sentAt = this.#now
    const conditions = policies?.conditions?.over() ?? []
    const taken = room > 0 ? await this.#starter.take({ room, till: undefined, conditions }) : undefined
    if (taken) policies?.conditions?.see(taken.left.conditions)
    const repliedAt = this.#now
    this.#pace.waited(repliedAt - sentAt)
    this.#takenAt = repliedAt
    const called = taken ? await this.#starter.run(taken.jobs) : 0
    await this.#startHanded(taken?.handed ?? [])
    this.#starter.forgetStarted()
    const has = taken !== undefined && called + taken.handed.length > 0
    this.#takeAt = has ? repliedAt : repliedAt + STUCK_MS
    this.note(taken?.isMore ? 0 : taken?.left.dueInMs)
    return has
  }

  /** What is at its last delivery waits to be alone; of a type that has more it runs beside others. What has none left becomes a dead letter. */
  async #startHanded(handed: readonly WaitingClaimedEntry[]): Promise<void> {
    if (handed.length === 0) return
    const { trusted, last, grouped, alone } = await this.#starter.byKind(handed)
    this.last.add([...last, ...grouped, ...alone])
    if (trusted.length > 0) this.last.add(await this.#starter.start(trusted))
  }

  /** The next of it, or of what waits for a condition that is for pollers. */
  get #nextAt(): number {
    return Math.min(this.#dueAt, this.#run.policies?.conditions?.dueAt() ?? Infinity)
  }

  /** Starts a last delivery, with nothing beside it; or several, which are not waited for. @param inTurn Makes the request that starts them. */
  async runLast(inTurn: (start: () => Promise<void>) => Promise<void>): Promise<void> {
    const pool = this.#pool
    try {
      await inTurn(() => this.last.start())
      // alone it waits for no others
      pool.mayLinger = !this.last.isAlone
      pool.fill()
      if (this.last.isAlone) await pool.until(() => pool.isIdle)
    } finally {
      pool.mayLinger = true
      this.last.hasRun()
      pool.notify()
    }
  }

  /** Something was settled, which may come back before anybody says so. */
  noteSettled(): void {
    const soonestMs = this.#run.settler.soonestMs()
    if (soonestMs < this.#dueAt - this.#now) this.note(soonestMs)
  }

  /** Somebody said in how many milliseconds the next is due; left out: nothing waits for a time. */
  note(dueInMs = Infinity): void {
    const now = this.#now
    this.#askedAt = now
    // a timer may be early by less than a millisecond
    this.#dueAt = now + (dueInMs > 0 ? dueInMs + 1 : 0)
    const at = Math.max(this.#dueAt, this.#takeAt)
    this.#cancel()
    this.#cancel =
      at === Infinity
        ? () => {}
        : this.#run.time.clock.after(Math.min(at - now, LONGEST_TIMER_MS), () => this.#pool.notify())
    this.#pool.notify()
  }

  /** What waits for its start goes back, and no timer is left. */
  end(): void {
    this.#cancel()
    this.#starter.giveBack()
  }
}
