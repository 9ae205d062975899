import type { Outcome } from '../core/outcome.ts'
import type { Delivery, Settlement } from '../group/group.ts'
import { Handlers } from './handlers.ts'
import type { Run } from './run.ts'
import { released, settlement } from './settlement.ts'

/**
 * Runs the handlers of a batch, at most `concurrency` side by side, as long as there is time to settle them. What could not start any more
 * is released. What overran its time is settled at once, lest it wait for the others, no longer renewed.
 *
 * While events wait for others to be handed over together, it takes more entries in.
 */
export class Batch {
  readonly #run: Run
  readonly #handlers: Handlers
  readonly #deliveries: Delivery[] = []
  readonly #outcomes: (Outcome | undefined)[] = []
  readonly #settled = new Set<number>()
  readonly #settling: Promise<void>[] = []
  readonly #over = Promise.withResolvers<void>()
  #overran: number[] = []
  #deliveredAt = 0
  #next = 0
  #isPumping = false
  #isOver = false
  /** When events have waited long enough for others; `undefined` if none wait. */
  #dueAt: number | undefined
  #cancelTimer: () => void = () => {}
  #resume: () => void = () => {}

  constructor(run: Run) {
    this.#run = run
    this.#handlers = new Handlers(run, true, () => this.#pump())
  }

  /** Whatever is not settled yet. */
  get held(): readonly Delivery[] {
    return this.#deliveries.filter((_delivery, at) => !this.#settled.has(at))
  }

  /** Events wait for others, nothing before them waits to start, and there is time. */
  get mayTakeMore(): boolean {
    const { concurrency } = this.#run.parts.consumer.settings
    const isAllStarted = this.#next === this.#deliveries.length && this.#handlers.running < concurrency
    return this.#dueAt !== undefined && isAllStarted && this.#run.mayWait()
  }

  add(deliveries: readonly Delivery[]): void {
    this.#deliveredAt = this.#run.parts.clock.now()
    this.#deliveries.push(...deliveries)
    this.#pump()
  }

  /** Waits, as long as it may take more, for that many milliseconds. */
  async pause(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#resume = resolve
    const cancel = this.#run.parts.clock.after(ms, resolve)
    if (this.mayTakeMore) await promise
    cancel()
  }

  /** Takes what has its outcome, to settle it while others run. */
  takeDone(): Settlement[] {
    const done = this.#unsettled().filter((at) => this.#outcomes[at])
    for (const at of done) this.#settled.add(at)
    return done.map((at) => this.#settlementOf(at))
  }

  /** @returns An outcome for every entry that is not settled yet, in the batch's order, once nothing runs any more. */
  async end(): Promise<Settlement[]> {
    await this.#over.promise
    const rest = this.#unsettled().map((at) => this.#settlementOf(at))
    if (this.#settling.length > 0) await Promise.all(this.#settling)
    return rest
  }

  #unsettled(): number[] {
    return [...this.#deliveries.keys()].filter((at) => !this.#settled.has(at))
  }

  #settlementOf(at: number): Settlement {
    const delivery = this.#deliveries[at] as Delivery
    return settlement(delivery, this.#outcomes[at] ?? released(delivery))
  }

  #pump(): void {
    if (this.#isPumping || this.#isOver) return
    this.#isPumping = true
    this.#cancelTimer()
    const { concurrency } = this.#run.parts.consumer.settings
    while (this.#next < this.#deliveries.length && this.#handlers.running < concurrency && this.#run.mayStart())
      this.#start(this.#next++)
    this.#dueAt = this.#handlers.flush(concurrency)
    this.#isPumping = false
    if (this.#dueAt !== undefined) this.#wakeAt(this.#dueAt)
    else if (this.#handlers.running === 0) this.#isOver = true
    if (!this.mayTakeMore) this.#resume()
    if (this.#isOver) this.#over.resolve()
  }

  /** What waits is handed over then, or as late as it can still be settled. */
  #wakeAt(dueAt: number): void {
    const { clock } = this.#run.parts
    const waitMs = Math.min(dueAt - clock.monotonic(), this.#run.waitableMs())
    this.#cancelTimer = clock.after(Math.max(1, Math.ceil(waitMs)), () => this.#pump())
  }

  #start(at: number): void {
    const delivery = this.#deliveries[at] as Delivery
    this.#handlers.start(delivery, this.#deliveredAt, (outcome) => {
      this.#outcomes[at] = outcome
      if (this.#run.hasOverrun(delivery) && this.#overran.push(at) === 1) queueMicrotask(() => this.#settleOverran())
      this.#pump()
    })
  }

  #settleOverran(): void {
    if (!this.#isOver) {
      for (const at of this.#overran) this.#settled.add(at)
      this.#settling.push(this.#run.settleMeanwhile(this.#overran.map((at) => this.#settlementOf(at))))
    }
    this.#overran = []
  }
}
