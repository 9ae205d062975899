import type { Claimed, Claims, Delivery, Held, Settlement } from '../group/group.ts'
import { PAGE } from '../group/scripts/claim-page.ts'
import { Handlers } from './handlers.ts'
import type { Run } from './run.ts'
import { released, settlement } from './settlement.ts'

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
 * Claimed entries on their way: they wait, are started, run, and are done. Each request settles what is done and starts as many as there is
 * room for, so that one slow handler holds up none that wait.
 */
export class Window {
  readonly #run: Run
  readonly #claims: Claims
  readonly #handlers: Handlers
  readonly #takenAt: number
  readonly #waiting: Set<Claimed>
  /** Counted as delivered, handler not running yet. */
  #started: Delivery[] = []
  readonly #running = new Set<Delivery>()
  #done: Settlement[]
  readonly #cutOff: Delivery[] = []
  #wake: () => void = () => {}

  /** @param done What needs no handler. */
  constructor(run: Run, claims: Claims, waiting: readonly Claimed[], done: readonly Settlement[]) {
    this.#run = run
    this.#claims = claims
    this.#handlers = new Handlers(run, false, () => this.#handlers.flush(run.parts.consumer.settings.concurrency))
    this.#takenAt = run.parts.clock.monotonic()
    this.#waiting = new Set(waiting)
    this.#done = [...done]
  }

  /** Under our name: whatever is not settled yet. */
  get held(): Held[] {
    return [...this.#waiting, ...this.#started, ...this.#running, ...this.#done]
  }

  /** Entries that had no turn. */
  get left(): ReadonlySet<string> {
    return new Set([...this.#waiting, ...this.#cutOff].map(({ id }) => id))
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
    const queue = [...entries]
    let last: { readonly requestMs: number; readonly repliedAt: number } | undefined
    const notePace = () => {
      if (last) ahead?.note(last.requestMs, this.#running.size > 0 ? undefined : clock.monotonic() - last.repliedAt)
    }
    try {
      for (;;) {
        this.#pump(atOnce)
        const isFull = this.#started.length > 0 || this.#running.size >= atOnce
        const mayStart = !isFull && queue.length > 0 && mayGoOn()
        if (mayStart || this.#running.size === 0) notePace()
        if (mayStart) {
          const sentAt = clock.monotonic()
          await this.#start(queue.splice(0, (ahead?.entries ?? atOnce) - this.#running.size))
          const repliedAt = clock.monotonic()
          last = { requestMs: repliedAt - sentAt, repliedAt }
        } else if (this.#running.size === 0) return queue
        else if (this.#done.length > 0 && !isFull) await this.settle()
        else await this.#ended()
      }
    } finally {
      while (this.#running.size > 0) await this.#ended()
    }
  }

  /** Settles what is done. */
  async settle(): Promise<void> {
    await this.#run.settle(this.#takeDone())
  }

  /** Settlements for everything that is left; what did not run is handed back as it was. */
  rest(): Settlement[] {
    this.#release()
    for (const { id, deliveryCount, from } of this.#waiting)
      this.#done.push({ id, deliveryCount, outcome: { kind: 'release', ...from, deliveryCount } })
    this.#waiting.clear()
    return this.#takeDone()
  }

  async #start(next: readonly Claimed[]): Promise<void> {
    const { slot } = this.#run.parts
    for (const entry of next) this.#waiting.delete(entry)
    const settlements = this.#takeDone()
    const call = this.#claims.settleAndStart(slot, settlements, next)
    const { started } = await this.#run.settleBy(settlements, call, next.length)
    this.#started = [...started]
  }

  /** Runs what is started, as far as there is room and time. */
  #pump(atOnce: number): void {
    const { clock } = this.#run.parts
    while (this.#started.length > 0 && this.#running.size < atOnce && this.#run.mayStart()) {
      const delivery = this.#started.shift() as Delivery
      this.#running.add(delivery)
      this.#handlers.start(delivery, clock.now(), (outcome) => {
        this.#running.delete(delivery)
        this.#done.push(settlement(delivery, outcome))
        this.#wake()
      })
    }
    this.#handlers.flush(atOnce)
    if (!this.#run.mayStart()) this.#release()
  }

  #release(): void {
    this.#cutOff.push(...this.#started)
    for (const delivery of this.#started) this.#done.push(settlement(delivery, released(delivery)))
    this.#started = []
  }

  /** Resolves once a handler has ended. */
  #ended(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  #takeDone(): Settlement[] {
    const done = this.#done.map((entry) => this.#toldTime(entry))
    this.#done = []
    return done
  }

  /** What is handed back has been idle for as long as we had it, too: it must not look as if it had been read meanwhile. */
  #toldTime(entry: Settlement): Settlement {
    const { outcome } = entry
    if (outcome.kind !== 'release') return entry
    const heldMs = this.#run.parts.clock.monotonic() - this.#takenAt
    return { ...entry, outcome: { ...outcome, idleMs: outcome.idleMs + heldMs } }
  }
}
