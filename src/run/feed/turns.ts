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
  /** Whether more can be started. */
  readonly hasMore: () => boolean
  /** Starts so many, with a request that settles what is done. */
  readonly start: (most: number) => Promise<void>
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
        await this.#turn({ atOnce, mayGoOn, hasMore, start, moreAt, ...(pace && { pace }) })
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

  async #feed({ atOnce, pace, mayGoOn, hasMore, start, moreAt }: RetryTurn): Promise<void> {
    const { settler, time, parts } = this.#run
    const { shared } = parts
    const pool = this.#pool
    let last: { readonly requestMs: number; readonly repliedAt: number } | undefined
    for (;;) {
      pool.fill()
      // suspects die with what waits beside them; what else waits for its route takes no place
      const taken = pace ? pool.load - pool.waiting : pool.open
      const isFull = pool.queued > 0 || taken >= atOnce || pool.isCongested
      const hasBytes = pool.isIdle || settler.bytes < parts.consumer.settings.maxBytes
      const mayStart = !isFull && hasBytes && hasMore() && mayGoOn()
      if (last && (mayStart || pool.isIdle))
        pace?.note(last.requestMs, pool.isIdle ? time.clock.monotonic() - last.repliedAt : undefined)
      if (mayStart) {
        const wanted = (pace?.entries ?? atOnce) - taken
        // counts rise when handlers start: none is started that has to wait for a place
        const most = shared ? await shared.reserve(wanted) : wanted
        try {
          if (shared && time.roundsLeft() < 1) continue
          const sentAt = time.clock.monotonic()
          await start(most)
          const repliedAt = time.clock.monotonic()
          last = { requestMs: repliedAt - sentAt, repliedAt }
        } finally {
          shared?.unreserve()
        }
      } else if (pool.isIdle) return
      else if (settler.hasDone && !isFull) await settler.settle()
      else await this.#endedOr(isFull ? undefined : moreAt?.())
    }
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
