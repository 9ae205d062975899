import { CLAIM_PAGE_LIMITS } from '../../group/redis/scripts/claim-page.ts'
import type { CallPool } from '../call-pool.ts'
import type { Run } from '../run.ts'
import type { IsolationGate } from './isolation-gate.ts'
import type { StartPace } from './start-pace.ts'

/** What was started and has yet to run. */
export interface StartedPage {
  readonly size: number
  /** Something failed of what its request settled, so that more may. */
  readonly hasFailed: boolean
  /** Has the pool run it. */
  readonly run: () => Promise<unknown>
}

/** Entries that one request takes ahead, at most: with one page that runs and two under way, no more are under our name than with two pages. */
const AHEAD_ENTRIES = Math.floor((2 * CLAIM_PAGE_LIMITS.finds) / 3)

/** How one kind of entries is retried. */
export interface RetryTurn {
  readonly atOnce: number
  /** Lets more be started than run. Left out: no more than there is room for. */
  readonly pace?: StartPace | undefined
  readonly mayGoOn: () => boolean
  /** For how many handlers, one after the other, there is time to be left while more is taken ahead. */
  readonly rounds: number
  /** Whether more can be started. */
  readonly hasMore: () => boolean
  /** Another page can be started while one is under way. */
  readonly hasMuchMore?: (() => boolean) | undefined
  /** Starts so many, with a request that settles what is done. @returns What has yet to run, where others may be taken before. @param isAhead Others are in hand by then. */
  readonly start: (most: number, isAhead?: boolean) => Promise<StartedPage | undefined>
  /** When there may be more to start, on the monotonic clock. Default: only once something has ended. */
  readonly moreAt?: (() => number) | undefined
}

/** Feeds a pool in turns: what runs side by side, or alone, across the consumers of an invocation. */
export class RetryTurns {
  readonly #run: Run
  readonly #pool: CallPool
  readonly #gate: IsolationGate

  /** @param gate Shared by all runs of the invocation. */
  constructor(run: Run, pool: CallPool, gate: IsolationGate) {
    this.#run = run
    this.#pool = pool
    this.#gate = gate
  }

  /** By itself, with nothing beside it. */
  async alone(turn: RetryTurn): Promise<void> {
    await this.#gate.alone(() => this.#turn(turn))
  }

  /** Side by side, for as long as nobody waits to be alone. */
  async together(
    hasMore: RetryTurn['hasMore'],
    start: RetryTurn['start'],
    rounds: number,
    { pace, moreAt, hasMuchMore }: Pick<RetryTurn, 'pace' | 'moreAt' | 'hasMuchMore'> = {},
  ): Promise<void> {
    const { time, parts } = this.#run
    const atOnce = parts.consumer.settings.concurrency
    while (hasMore() && time.roundsLeft() >= rounds) {
      await this.#gate.together(async () => {
        let isFirst = true
        const mayGoOn = () => {
          const isTurn = isFirst || !this.#gate.isAwaited
          isFirst = false
          return isTurn && time.roundsLeft() >= rounds
        }
        await this.#turn({ atOnce, mayGoOn, rounds, hasMore, hasMuchMore, start, moreAt, pace })
      })
    }
  }

  /** Runs entries for as long as they may go on; what runs then is waited for. */
  async #turn(turn: RetryTurn): Promise<void> {
    const pool = this.#pool
    pool.atOnce = turn.atOnce
    try {
      await this.#feed(turn)
    } finally {
      pool.fill()
      await pool.until(() => pool.isIdle)
    }
    // by itself, the next start settles what is done before it starts a suspect; others do not wait for that
    if (this.#gate.isShared) await this.#run.settler.settle()
  }

  async #feed(turn: RetryTurn): Promise<void> {
    const { atOnce, pace, mayGoOn, hasMore, start, moreAt } = turn
    const { settler, time, parts } = this.#run
    const { shared } = parts
    const pool = this.#pool
    let repliedAt: number | undefined
    let handlersMs = Infinity
    for (;;) {
      pool.fill()
      // suspects die with what waits beside them; what else waits for its route takes no place
      const taken = pace ? pool.load - pool.waiting : pool.open
      const isFull = pool.queued > 0 || taken >= atOnce || pool.isCongested
      const hasBytes = pool.isIdle || settler.bytes < parts.consumer.settings.maxBytes
      const mayStart = !isFull && hasBytes && hasMore() && mayGoOn()
      if (repliedAt !== undefined && (mayStart || pool.isIdle)) {
        handlersMs = pool.isIdle ? time.clock.monotonic() - repliedAt : Infinity
        pace?.note(handlersMs)
      }
      if (mayStart) {
        const wanted = (pace?.entries ?? atOnce) - taken
        // counts rise when handlers start: none is started that has to wait for a place
        const most = shared ? await shared.reserve(wanted) : wanted
        try {
          if (shared && time.roundsLeft() < 1) continue
          const sentAt = time.clock.monotonic()
          const page = await start(most)
          repliedAt = time.clock.monotonic()
          pace?.waited(repliedAt - sentAt)
          if (page) repliedAt = await this.#runAhead(turn, page, handlersMs)
        } finally {
          shared?.unreserve()
        }
      } else if (pool.isIdle) return
      else if (settler.hasDone && !isFull) await settler.settle()
      else await this.#endedOr(isFull ? undefined : moreAt?.())
    }
  }

  /**
   * Runs what was taken; while handlers are quick, the next of it is taken meanwhile, and where there is much, what follows that as well: the server is at work while this reads an answer.
   * Such a request is sent before these handlers start.
   *
   * @param first What was taken.
   * @param lastMs What handlers took last.
   * @returns When the last of it started to run, on the monotonic clock.
   */
  async #runAhead(turn: RetryTurn, first: StartedPage, lastMs: number): Promise<number> {
    const { time } = this.#run
    const underWay: Promise<StartedPage | undefined>[] = []
    let startedAt = time.clock.monotonic()
    let handlersMs = lastMs
    try {
      for (let page: StartedPage | undefined = first; page; page = await underWay.shift()) {
        while (this.#mayTakeAhead(turn, handlersMs, page, underWay.length)) {
          const ahead = turn.start(Math.min(AHEAD_ENTRIES, turn.pace?.entries ?? turn.atOnce), true)
          ahead.catch(() => time.stop()) // thrown where it is awaited
          underWay.push(ahead)
        }
        startedAt = time.clock.monotonic()
        await page.run()
        if (underWay.length === 0) break
        await this.#pool.until(() => this.#pool.hasRoom)
        handlersMs = time.clock.monotonic() - startedAt
        turn.pace?.note(handlersMs)
      }
    } finally {
      // after one that was not answered: what came all the same goes back, since time is up
      for (const ahead of underWay) await ahead.then((page) => page?.run()).catch(() => {})
    }
    return startedAt
  }

  /**
   * Whether more is taken while what was taken last runs: nothing else does, and there is time for all of it.
   *
   * @param last What was taken last.
   * @param underWay Requests that were not answered yet.
   */
  #mayTakeAhead(turn: RetryTurn, handlersMs: number, last: StartedPage, underWay: number): boolean {
    const { time, settler, policies, alwaysOn, parts } = this.#run
    const { routes, routeBounds, settings } = parts.consumer
    const { pace, rounds, hasMore, hasMuchMore } = turn
    if (!pace?.isQuick(handlersMs) || policies || parts.shared || !this.#pool.isIdle) return false
    if (underWay > 1 || !(underWay > 0 ? hasMuchMore?.() : hasMore())) return false
    if (last.size + (underWay + 1) * AHEAD_ENTRIES > 2 * CLAIM_PAGE_LIMITS.finds) return false
    if (last.hasFailed || this.#gate.isAwaited || !settler.hasOnlyAcks || settler.bytes >= settings.maxBytes)
      return false
    if (alwaysOn.limit() === 0 || [...routes.values()].some(({ batching }) => batching)) return false
    const startsAt = time.clock.monotonic() + (1 + underWay) * handlersMs
    return time.roundsLeft() > rounds && time.mayStart(startsAt + routeBounds.longestTimeoutMs)
  }

  /** Resolves once a call ends, or at that time. */
  async #endedOr(at = Infinity): Promise<void> {
    const { clock } = this.#run.time
    const pool = this.#pool
    const { open } = pool
    // what is due by then was not to be started
    const isLater = at !== Infinity && at > clock.monotonic()
    let isTime = false
    const cancel = isLater
      ? clock.after(at - clock.monotonic(), () => {
          isTime = true
          pool.notify()
        })
      : () => {}
    await pool.until(() => isTime || pool.open < open)
    cancel()
  }
}
