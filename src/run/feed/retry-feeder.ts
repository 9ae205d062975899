import type { ClaimedEntry } from '../../group/delivery.ts'
import type { ClaimerOperations, ClaimResult, SetAsideSummary } from '../../group/group.ts'
import { CallPool } from '../call-pool.ts'
import type { Run } from '../run.ts'
import { isOver, namedConditions } from './conditions-over.ts'
import type { IsolationGate } from './isolation-gate.ts'
import type { Kinds } from './retry-starter.ts'
import { RetryStarter } from './retry-starter.ts'
import { StartPace } from './start-pace.ts'
import type { RetryTurn } from './turns.ts'
import { RetryTurns } from './turns.ts'
import type { WaitingClaimedEntry } from './waiting-claimed-entry.ts'

/**
 * Feeds a pool with what was set aside and comes back now, and with claimed entries, a page at a time. They wait, are started, and run. Each request settles what is done and starts as
 * many as there is room for, so that one slow handler holds up none that wait.
 */
export class RetryFeeder {
  readonly #run: Run
  readonly #gate: IsolationGate
  readonly #pool: CallPool
  readonly #starter: RetryStarter
  readonly #turns: RetryTurns
  readonly #pace: StartPace
  /** Milliseconds for which last deliveries may still run alone. Slow ones would keep all others waiting for the whole run. */
  #aloneMs: number
  /** Up to when something is due for this run, in milliseconds since 1970: what it set aside itself comes back in the next, unless handlers are still at work by then. */
  #till: number | undefined
  /** When the next of what is set aside is due, on the monotonic clock. */
  #dueAt = Infinity
  /** Conditions of which this run has taken all. */
  readonly #emptied = new Set<string>()

  /** @param gate Shared by all runs of the invocation. */
  constructor(run: Run, claims: ClaimerOperations, gate: IsolationGate) {
    const { concurrency } = run.parts.consumer.settings
    this.#run = run
    this.#gate = gate
    this.#pool = new CallPool(run.time.clock, concurrency, false, run.parts.shared)
    this.#starter = new RetryStarter(run, claims, this.#pool)
    this.#turns = new RetryTurns(run, this.#pool, gate)
    this.#pace = new StartPace(concurrency)
    this.#aloneMs = run.parts.consumer.routeBounds.longestTimeoutMs
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
    if (claimed.length > 0) this.#run.report.claimed(claimed)
    const page = this.#starter.wait(claimed)
    let left: ReadonlySet<string> = new Set()
    try {
      await this.#inOrder(await this.#starter.byKind(page), aside)
    } finally {
      this.#pool.fill()
      await this.#pool.until(() => this.#pool.isIdle)
      left = this.#starter.giveBack()
    }
    const first = claimed.findIndex(({ id }) => left.has(id))
    return first < 0 ? undefined : first
  }

  // a round is kept for each kind of suspects, or slow failing entries before them could take all the time of every run
  async #inOrder(page: Kinds, aside: SetAsideSummary): Promise<void> {
    // in its turn, what must be alone goes before what others have for this run
    const isFirst = this.#gate.isAloneFirst
    const alone = isFirst ? await this.#alone(page.alone, 1, () => true) : page.alone
    if (isFirst && alone.length > 0) return
    const kinds = [page.grouped, alone].filter(({ length }) => length > 0).length
    const handed = await this.#starter.byKind(await this.#takeOn(aside, 1 + kinds))
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

  /** Takes what comes back now, or while handlers are at work. @returns What is at its last delivery, or has none left: it was not started. */
  async #takeOn(aside: SetAsideSummary, rounds: number): Promise<readonly WaitingClaimedEntry[]> {
    const handed: WaitingClaimedEntry[] = []
    let conditions = this.#over(aside)
    // what the server decides by itself nobody has to name
    let hasMore = conditions.length > 0 || (this.#till === undefined && aside.dueInMs === 0)
    let hasMuchMore = false
    const start = async (most: number, isAhead = false) => {
      const room = Math.min(most, this.room)
      if (room < 1) {
        hasMore = false
        this.#dueAt = Infinity
        return undefined
      }
      const sent = conditions
      const told = namedConditions(sent, this.#run)
      const taken = await this.#starter.take(
        { room, till: hasMore ? this.#till : undefined, conditions: told },
        isAhead,
      )
      this.#till = taken.till
      handed.push(...taken.handed)
      if (!taken.isMore) for (const condition of sent) this.#emptied.add(condition)
      this.#noteDue(taken.left)
      conditions = this.#over(taken.left)
      hasMore = taken.isMore || conditions.length > 0
      hasMuchMore = taken.isMuchMore === true && conditions.length === 0
      const { jobs, hasFailed } = taken
      return { size: jobs.length, hasFailed, run: () => this.#starter.run(jobs) }
    }
    this.#noteDue(aside)
    const isMore = () => hasMore || (!this.#pool.isIdle && this.#run.time.clock.monotonic() >= this.#dueAt)
    await this.#turns.together(isMore, start, rounds, {
      pace: this.#pace,
      moreAt: () => this.#dueAt,
      hasMuchMore: () => hasMuchMore,
    })
    this.hasLeft = hasMore
    return handed
  }

  /** What is due in a moment waits for handlers that are under way no longer than that. */
  #noteDue({ dueInMs }: SetAsideSummary): void {
    const { clock } = this.#run.time
    const lingers = dueInMs !== undefined && dueInMs > 0 && dueInMs <= this.#run.parts.lingerMs
    this.#dueAt = lingers ? clock.monotonic() + dueInMs + 1 : Infinity
  }

  /** Conditions that hold by now and that this run has not emptied. */
  #over({ conditions }: SetAsideSummary): readonly string[] {
    return conditions.filter((condition) => !this.#emptied.has(condition) && isOver(condition, this.#run))
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
      await this.#turns.alone({ atOnce: 1, mayGoOn, rounds, ...this.#startsFrom(queue) })
    }
    return []
  }

  async #together(entries: readonly WaitingClaimedEntry[], rounds: number, pace?: StartPace): Promise<void> {
    const { hasMore, start } = this.#startsFrom([...entries])
    await this.#turns.together(hasMore, start, rounds, { pace })
  }

  /** How those of a queue are started. */
  #startsFrom(queue: WaitingClaimedEntry[]): Pick<RetryTurn, 'hasMore' | 'start'> {
    return {
      hasMore: () => queue.length > 0,
      start: async (most) => {
        const waiting = await this.#starter.start(queue.splice(0, most))
        queue.unshift(...waiting)
        return undefined
      },
    }
  }
}
