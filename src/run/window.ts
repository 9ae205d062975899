import type { Claimed, Claims, Held, Settlement } from '../group/group.ts'
import { PAGE } from '../group/scripts/claim-page.ts'
import { Pool } from './pool.ts'
import type { Run } from './run.ts'

/**
 * How fast a run may go. Counts should rise when handlers start, so at first a request starts no more entries than run side by side; as
 * long as handlers take less time than the requests between them, twice as many each time, up to a page.
 */
export class Pace {
  /** Milliseconds for which last deliveries may still run alone. Slow ones would keep all others waiting for the whole run. */
  aloneMs: number
  readonly #slowest: number
  #entries: number

  constructor(concurrency: number, aloneMs: number) {
    this.aloneMs = aloneMs
    this.#slowest = concurrency
    this.#entries = concurrency
  }

  /** How many one request may start. */
  get entries(): number {
    return this.#entries
  }

  /** @param requestMs What the last request took. @param handlersMs What all its handlers took; `undefined` if some still run. */
  note(requestMs: number, handlersMs: number | undefined): void {
    const isFast = handlersMs !== undefined && handlersMs < requestMs
    this.#entries = Math.max(
      this.#slowest,
      isFast ? Math.min(PAGE.finds, this.#entries * 2) : Math.floor(this.#entries / 2),
    )
  }
}

/**
 * Claimed entries on their way: they wait, are started, and run. Each request settles what is done and starts as many as there is room for, so
 * that one slow handler holds up none that wait.
 */
export class Window {
  readonly #run: Run
  readonly #claims: Claims
  readonly #pool: Pool
  readonly #takenAt: number
  readonly #waiting: Set<Claimed>
  #buried: readonly Settlement[]

  /** @param buried What needs no handler. */
  constructor(run: Run, claims: Claims, waiting: readonly Claimed[], buried: readonly Settlement[]) {
    this.#run = run
    this.#claims = claims
    this.#pool = new Pool(run, false)
    this.#takenAt = run.parts.clock.monotonic()
    this.#waiting = new Set(waiting)
    this.#buried = buried
  }

  /** Under our name: whatever is not settled yet. */
  get held(): Held[] {
    return [...this.#waiting, ...this.#pool.held, ...this.#buried]
  }

  /** Entries that had no turn. */
  get left(): ReadonlySet<string> {
    return new Set([...[...this.#waiting].map(({ id }) => id), ...this.#pool.cutOff])
  }

  /**
   * Runs waiting entries, at most `atOnce` side by side, as long as `mayGoOn` says so; what runs then is waited for.
   *
   * @param ahead Lets more be started than run. Default: no more than there is room for.
   * @returns Those that still wait.
   * @throws {RedisConnectionError} No reply came. What ran meanwhile has ended.
   */
  async run(entries: readonly Claimed[], atOnce: number, mayGoOn: () => boolean, ahead?: Pace): Promise<Claimed[]> {
    const { clock } = this.#run.parts
    const pool = this.#pool
    pool.atOnce = atOnce
    const queue = [...entries]
    let last: { readonly requestMs: number; readonly repliedAt: number } | undefined
    const notePace = () => {
      if (last) ahead?.note(last.requestMs, pool.open > 0 ? undefined : clock.monotonic() - last.repliedAt)
    }
    try {
      for (;;) {
        pool.fill()
        const isFull = pool.queued > 0 || pool.open >= atOnce
        const mayStart = !isFull && queue.length > 0 && mayGoOn()
        if (mayStart || pool.open === 0) notePace()
        if (mayStart) {
          const sentAt = clock.monotonic()
          await this.#start(queue.splice(0, (ahead?.entries ?? atOnce) - pool.open))
          const repliedAt = clock.monotonic()
          last = { requestMs: repliedAt - sentAt, repliedAt }
        } else if (pool.open === 0) return queue
        else if (pool.hasDone && !isFull) await this.settle()
        else await pool.ended()
      }
    } finally {
      pool.fill()
      await pool.until(() => pool.open === 0)
    }
  }

  /** Settles what is done. */
  async settle(): Promise<void> {
    await this.#run.settle(this.#takeDone())
  }

  /** Settlements for everything that is left; what did not run is handed back as it was. */
  rest(): Settlement[] {
    this.#pool.fill()
    const back = [...this.#waiting].map(({ id, deliveryCount, from }) =>
      this.#toldTime({ id, deliveryCount, outcome: { kind: 'release', ...from, deliveryCount } }),
    )
    this.#waiting.clear()
    return [...this.#takeDone(), ...back]
  }

  async #start(next: readonly Claimed[]): Promise<void> {
    const { slot } = this.#run.parts
    for (const entry of next) this.#waiting.delete(entry)
    const settlements = this.#takeDone()
    const call = this.#claims.settleAndStart(slot, settlements, next)
    const { started } = await this.#run.settleBy(settlements, call, next.length)
    this.#pool.add(started)
  }

  #takeDone(): Settlement[] {
    const done = [...this.#buried, ...this.#pool.takeDone()]
    this.#buried = []
    return done.map((entry) => this.#toldTime(entry))
  }

  /** What is handed back has been idle for as long as we had it, too: it must not look as if it had been read meanwhile. */
  #toldTime(entry: Settlement): Settlement {
    const { id, deliveryCount, outcome } = entry
    if (outcome.kind !== 'release') return entry
    const heldMs = this.#run.parts.clock.monotonic() - this.#takenAt
    return { id, deliveryCount, outcome: { ...outcome, idleMs: outcome.idleMs + heldMs } }
  }
}
