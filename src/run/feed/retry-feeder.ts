import { PARKED_CONSUMER } from '../../core/keys.ts'
import type {
  ClaimedEntry,
  ClaimerOperations,
  ClaimResult,
  Delivery,
  SetAsideSummary,
  StartClaimedBounds,
} from '../../group/group.ts'
import { isDecidedByServer, isThere } from '../awaited.ts'
import { CallPool } from '../call-pool.ts'
import { hasOutcome } from '../entry-in-hand.ts'
import { Job } from '../job.ts'
import type { Run } from '../run.ts'
import type { IsolationGate } from './isolation-gate.ts'
import { StartPace } from './start-pace.ts'
import type { CrashSuspects } from './suspects.ts'
import { findCrashSuspects } from './suspects.ts'
import type { RetryTurn } from './turns.ts'
import { RetryTurns } from './turns.ts'
import { WaitingClaimedEntry } from './waiting-claimed-entry.ts'

/** Entries by how they run. */
type Kinds = Omit<CrashSuspects<WaitingClaimedEntry>, 'usedUp'>

/**
 * Feeds a pool with what was set aside and comes back now, and with claimed entries, a page at a time. They wait, are started, and run. Each request settles what is done and starts as
 * many as there is room for, so that one slow handler holds up none that wait.
 */
export class RetryFeeder {
  readonly #run: Run
  readonly #claims: ClaimerOperations
  readonly #gate: IsolationGate
  readonly #pool: CallPool
  readonly #turns: RetryTurns
  readonly #pace: StartPace
  /** Milliseconds for which last deliveries may still run alone. Slow ones would keep all others waiting for the whole run. */
  #aloneMs: number
  /** Of the page: what waits for its start, and what was started. */
  readonly #waiting = new Set<WaitingClaimedEntry>()
  #started: Job[] = []
  /** Up to when something is due for this run, in milliseconds since 1970: what it set aside itself comes back in the next. */
  #till: number | undefined
  /** Conditions of which this run has taken all. */
  readonly #emptied = new Set<string>()

  /** @param gate Shared by all runs of the invocation. */
  constructor(run: Run, claims: ClaimerOperations, gate: IsolationGate) {
    const { concurrency, handlerTimeoutMs } = run.parts.consumer.settings
    this.#run = run
    this.#claims = claims
    this.#gate = gate
    this.#pool = new CallPool(run.time.clock, concurrency, false)
    this.#turns = new RetryTurns(run, this.#pool, gate)
    this.#pace = new StartPace(concurrency)
    this.#aloneMs = handlerTimeoutMs
  }

  /** Time was up before all was taken that comes back now. */
  hasLeft = false

  /** How many entries are worth claiming at once. */
  get room(): number {
    const { concurrency } = this.#run.parts.consumer.settings
    const room = Math.max(concurrency * this.#run.time.roundsLeft(), this.#pace.entries)
    return this.#run.policies ? this.#run.policies.limit(room) : room
  }

  /**
   * Retries what was set aside and comes back now, and the entries of a page, as far as there is time, those that killed no process first. Afterwards all of them have their outcomes.
   *
   * @param page What else there is.
   * @returns Which of the claimed was the first that had no turn.
   * @throws {RedisConnectionError} No reply came. What ran meanwhile has ended.
   */
  async retry(claimed: readonly ClaimedEntry[], { aside }: ClaimResult): Promise<number | undefined> {
    this.#started = []
    const page = claimed.map((entry) => new WaitingClaimedEntry(entry, this.#run.parts.slot))
    if (page.length > 0) this.#run.report.claimed(claimed)
    this.#hold(page)
    try {
      await this.#inOrder(this.#byKind(page), aside)
    } finally {
      this.#pool.fill()
      await this.#pool.until(() => this.#pool.isIdle)
      for (const entry of this.#waiting) entry.giveBack()
    }
    const left = new Set([...this.#waiting, ...this.#started.filter(({ hadNoTurn }) => hadNoTurn)].map(({ id }) => id))
    this.#waiting.clear()
    const first = claimed.findIndex(({ id }) => left.has(id))
    return first < 0 ? undefined : first
  }

  #hold(entries: readonly WaitingClaimedEntry[]): void {
    this.#run.settler.take(entries)
    for (const entry of entries) this.#waiting.add(entry)
  }

  /** Those that have no delivery left become dead letters. */
  #byKind(entries: readonly WaitingClaimedEntry[]): Kinds {
    const { time, parts } = this.#run
    const { usedUp, ...kinds } = findCrashSuspects(entries, parts.consumer.settings.maxDeliveries)
    for (const entry of usedUp) {
      entry.setAside(time.clock.now())
      this.#waiting.delete(entry)
    }
    return kinds
  }

  // a round is kept for each kind of suspects, or slow failing entries before them could take all the time of every run
  async #inOrder(page: Kinds, aside: SetAsideSummary): Promise<void> {
    // in its turn, what must be alone goes before what others have for this run
    const isFirst = this.#gate.isAloneFirst
    const alone = isFirst ? await this.#alone(page.alone, 1, () => true) : page.alone
    if (isFirst && alone.length > 0) return
    const kinds = [page.grouped, alone].filter(({ length }) => length > 0).length
    const handed = this.#byKind(await this.#takeOn(aside, 1 + kinds))
    await this.#together([...handed.trusted, ...page.trusted], 1 + kinds, this.#pace)
    await this.#last([...handed.last, ...page.last], 1 + kinds)
    await this.#together(page.grouped, alone.length > 0 ? 2 : 1)
    await this.#alone(alone, 1, () => true)
  }

  /** Last deliveries run alone for as long as that does not keep all others waiting. */
  async #last(entries: readonly WaitingClaimedEntry[], rounds: number): Promise<void> {
    const { clock } = this.#run.time
    const startedAt = clock.monotonic()
    const slow = await this.#alone(entries, rounds, () => clock.monotonic() - startedAt < this.#aloneMs)
    this.#aloneMs -= clock.monotonic() - startedAt
    await this.#together(slow, rounds)
  }

  /** Takes what comes back now. @returns What is at its last delivery, or has none left: it was not started. */
  async #takeOn(aside: SetAsideSummary, rounds: number): Promise<readonly WaitingClaimedEntry[]> {
    const handed: WaitingClaimedEntry[] = []
    let conditions = this.#over(aside)
    // what the server decides by itself nobody has to name
    let hasMore = conditions.length > 0 || (this.#till === undefined && aside.dueInMs === 0)
    const start = async (most: number) => {
      const room = Math.min(most, this.room)
      if (room < 1) {
        hasMore = false
        return
      }
      const told = conditions.filter((condition) => !isDecidedByServer(condition))
      const taken = await this.#take(room, told)
      this.#till = taken.till
      handed.push(...taken.handed)
      if (!taken.isMore) for (const condition of conditions) this.#emptied.add(condition)
      conditions = this.#over(taken.left)
      hasMore = taken.isMore || conditions.length > 0
    }
    await this.#turns.together(() => hasMore, start, rounds, this.#pace)
    this.hasLeft = hasMore
    return handed
  }

  /** Conditions that hold by now and that this run has not emptied. */
  #over({ conditions }: SetAsideSummary): readonly string[] {
    const { policies, alwaysOn, pauses, parts } = this.#run
    const isOver = (condition: string) =>
      isThere(condition, parts.consumer, alwaysOn.unavailable) ||
      pauses.isOver(condition) ||
      policies?.isOver(condition) === true
    return conditions.filter((condition) => !this.#emptied.has(condition) && isOver(condition))
  }

  /** @returns Those that still wait. */
  async #alone(
    entries: readonly WaitingClaimedEntry[],
    rounds: number,
    mayBeAlone: () => boolean,
  ): Promise<readonly WaitingClaimedEntry[]> {
    const mayGoOn = () => this.#run.time.roundsLeft() >= rounds
    for (const [n, entry] of entries.entries()) {
      if (!mayGoOn() || !mayBeAlone()) return entries.slice(n)
      const queue = [entry]
      await this.#turns.alone({ atOnce: 1, mayGoOn, ...this.#startsFrom(queue) })
    }
    return []
  }

  async #together(entries: readonly WaitingClaimedEntry[], rounds: number, pace?: StartPace): Promise<void> {
    const { hasMore, start } = this.#startsFrom([...entries])
    await this.#turns.together(hasMore, start, rounds, pace)
  }

  /** How those of a queue are started. */
  #startsFrom(queue: WaitingClaimedEntry[]): Pick<RetryTurn, 'hasMore' | 'start'> {
    return {
      hasMore: () => queue.length > 0,
      start: async (most) => {
        const waiting = await this.#start(queue.splice(0, most))
        queue.unshift(...waiting)
      },
    }
  }

  /**
   * What the server leaves alone: entries whose type says that their handler takes no work, or is paused, where the codec says which field has the type.
   */
  get #bounds(): Pick<StartClaimedBounds, 'maxBytes' | 'unless' | 'guards'> {
    const { settler, policies, parts } = this.#run
    const { unavailable } = this.#run.alwaysOn
    const { typeField: field } = parts.consumer.codec
    const unless = field !== undefined ? { field, values: [...unavailable].map(({ event }) => event.type) } : undefined
    return { maxBytes: parts.consumer.settings.maxBytes - settler.bytes, unless, guards: policies?.guards }
  }

  /** @param most How many at most. */
  async #take(most: number, conditions: readonly string[]) {
    const { settler, report, pauses, parts } = this.#run
    const done = settler.takeDone()
    const { maxDeliveries } = parts.consumer.settings
    const request = { ...this.#bounds, room: most, maxDeliveries, till: this.#till, conditions }
    const call = this.#claims.settleAndTake(parts.slot, done, request)
    const taken = await settler.by(done, call).catch((error: unknown) => {
      settler.doubtTake((done) => this.#claims.settleAndGiveBack(parts.slot, done))
      throw error
    })
    report.lost(taken.lost)
    pauses.see(taken.paused)
    const { started } = taken
    const handed = taken.handed.map((entry) => new WaitingClaimedEntry(entry, this.#run.parts.slot))
    this.#hold(handed)
    if (started.length + handed.length > 0) {
      const given = started.map(({ id, deliveryCount, idleMs }) => ({
        id,
        deliveryCount: deliveryCount - 1,
        from: { owner: PARKED_CONSUMER, idleMs },
      }))
      report.claimed([...given, ...handed])
      await this.#runAll(started)
    }
    return { ...taken, handed }
  }

  /** @returns Those that there was no room for: they wait on. */
  async #start(next: readonly WaitingClaimedEntry[]): Promise<readonly WaitingClaimedEntry[]> {
    const { settler, report, pauses, parts } = this.#run
    for (const entry of next) this.#waiting.delete(entry)
    settler.drop(next)
    const done = settler.takeDone()
    const call = this.#claims.settleAndStart(parts.slot, done, next, this.#bounds)
    const {
      started,
      leftAlone,
      noRoom,
      leftPaused = [],
      paused,
    } = await settler.by(done, call).catch((error: unknown) => {
      for (const entry of next) entry.giveBack(true)
      settler.take(next)
      throw error
    })
    pauses.see(paused)
    const leftIds = new Set([...leftAlone, ...leftPaused].map(({ id }) => id))
    const left = next.filter(({ id }) => leftIds.has(id))
    for (const entry of left) entry.giveBack()
    report.throttled(leftAlone.length)
    const waitingIds = new Set(noRoom.map(({ id }) => id))
    const waiting = next.filter(({ id }) => waitingIds.has(id))
    for (const entry of waiting) this.#waiting.add(entry)
    settler.take([...left, ...waiting])
    await this.#runAll(started)
    return waiting
  }

  /** Has the pool run what was started. */
  async #runAll(started: readonly Delivery[]): Promise<void> {
    const { settler, time, policies } = this.#run
    const now = time.clock.now()
    const jobs = started.map((delivery) => new Job(this.#run, delivery, now))
    this.#started.push(...jobs)
    settler.take(jobs)
    await policies?.admit(jobs)
    this.#pool.add(policies ? jobs.filter((job) => !hasOutcome(job)) : jobs)
  }
}
