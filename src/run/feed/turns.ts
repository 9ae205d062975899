import type { CallPool } from '../call-pool.ts'
import type { Run } from '../run.ts'
import type { IsolationGate } from './isolation-gate.ts'
import type { StartPace } from './start-pace.ts'

/** How one kind of entries is retried. */
export interface RetryTurn {
  readonly atOnce: number
  /** Lets more be started than run. Left out: no more than there is room for. */
  readonly pace?: StartPace
  readonly mayGoOn: () => boolean
  /** For how many handlers, one after the other, there is time to be left while more is taken ahead. */
  readonly rounds: number
  /** Whether more can be started. */
  readonly hasMore: () => boolean
  /** Starts so many, with a request that settles what is done. @returns What has the pool run them, if they do not run by then: others may be taken before. */
  readonly start: (most: number) => Promise<(() => Promise<unknown>) | undefined>
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
    pace?: StartPace,
    moreAt?: RetryTurn['moreAt'],
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
        await this.#turn({ atOnce, mayGoOn, rounds, hasMore, start, moreAt, ...(pace && { pace }) })
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
          const run = await start(most)
          repliedAt = time.clock.monotonic()
          pace?.waited(repliedAt - sentAt)
          if (run) repliedAt = await this.#runAhead(turn, run, handlersMs)
        } finally {
          shared?.unreserve()
        }
      } else if (pool.isIdle) return
      else if (settler.hasDone && !isFull) await settler.settle()
      else await this.#endedOr(isFull ? undefined : moreAt?.())
    }
  }

  /**
   * Runs what was taken; while handlers are quick, the next of it is taken meanwhile. That request is sent before these handlers start, so that the server is at work by then.
   *
   * @param run Has the pool run what was taken.
   * @param lastMs What handlers took last.
   * @returns When the last of it started to run, on the monotonic clock.
   */
  async #runAhead(turn: RetryTurn, run: () => Promise<unknown>, lastMs: number): Promise<number> {
    const { clock } = this.#run.time
    let handlersMs = lastMs
    for (let next: typeof run | undefined = run; ; ) {
      const ahead = this.#mayTakeAhead(turn, handlersMs) ? turn.start(turn.pace?.entries ?? turn.atOnce) : undefined
      ahead?.catch(() => this.#run.time.stop()) // thrown below
      const startedAt = clock.monotonic()
      await next()
      if (!ahead) return startedAt
      await this.#pool.until(() => this.#pool.hasRoom)
      handlersMs = clock.monotonic() - startedAt
      turn.pace?.note(handlersMs)
      next = await ahead
      if (!next) return startedAt
    }
  }

  /** Whether more is taken while what was taken last runs: nothing else does, and there is time for both. */
  #mayTakeAhead({ pace, rounds, hasMore }: RetryTurn, handlersMs: number): boolean {
    const { time, settler, policies, alwaysOn, parts } = this.#run
    const { routes, routeBounds, settings } = parts.consumer
    if (!pace?.isQuick(handlersMs) || policies || parts.shared || !this.#pool.isIdle || !hasMore()) return false
    if (this.#gate.isAwaited || !settler.hasOnlyAcks || settler.bytes >= settings.maxBytes) return false
    if (alwaysOn.limit() === 0 || [...routes.values()].some(({ batching }) => batching)) return false
    const startsAt = time.clock.monotonic() + handlersMs
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
