import type { Outcome } from '../core/outcome.ts'
import type { Delivery, Settlement } from '../group/group.ts'
import { Handlers } from './handlers.ts'
import type { Run } from './run.ts'
import { released, settlement } from './settlement.ts'

/**
 * Runs the handlers of a batch, at most `concurrency` side by side, as long as there is time to settle them. What could not start any more
 * is released. What overran its time is settled at once, lest it wait for the others, no longer renewed.
 *
 * While events wait for others to be handed over together, it takes more entries in. It keeps nothing of what is settled.
 */
export class Batch {
  readonly #run: Run
  readonly #handlers: Handlers
  /** Whatever is not settled yet, in the batch's order, with its outcome once it has one. */
  readonly #unsettled = new Map<Delivery, Outcome | undefined>()
  readonly #waiting: Delivery[] = []
  readonly #settling: Promise<void>[] = []
  readonly #over = Promise.withResolvers<void>()
  #overran: Delivery[] = []
  #deliveredAt = 0
  /** The first of `#waiting` that has not been started. */
  #next = 0
  #isPumping = false
  /** Nothing more is added. */
  #isClosed = false
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
    return [...this.#unsettled.keys()]
  }

  add(deliveries: readonly Delivery[]): void {
    this.#deliveredAt = this.#run.parts.clock.now()
    this.#waiting.splice(0, this.#next)
    this.#next = 0
    this.#waiting.push(...deliveries)
    for (const delivery of deliveries) this.#unsettled.set(delivery, undefined)
    this.#pump()
  }

  /**
   * While events wait for others: lets that many milliseconds pass, and whatever has to start before what is added next.
   *
   * @returns Whether they still wait.
   */
  async mayTakeMoreAfter(ms: number): Promise<boolean> {
    if (!this.#isGathering && !this.#handlers.isPreparing) return false
    let isTime = ms === 0
    const cancel = this.#run.parts.clock.after(ms, () => {
      isTime = true
      this.#resume()
    })
    // what a schema still checks may be the first that waits
    while (this.#isGathering ? !(isTime && this.#hasRoom) : this.#handlers.isPreparing) {
      await new Promise<void>((resolve) => {
        this.#resume = resolve
      })
    }
    cancel()
    return this.#isGathering
  }

  /** Takes what has its outcome, to settle it while others run. */
  takeDone(): Settlement[] {
    return this.#take([...this.#unsettled.keys()].filter((delivery) => this.#unsettled.get(delivery)))
  }

  /** Adds nothing more. @returns An outcome for every entry that is not settled yet, in the batch's order, once nothing runs any more. */
  async end(): Promise<Settlement[]> {
    this.#isClosed = true
    this.#pump() // what may wait no longer is handed over, or let go
    await this.#over.promise
    const rest = this.#take(this.held)
    if (this.#settling.length > 0) await Promise.all(this.#settling)
    return rest
  }

  get #isGathering(): boolean {
    return this.#dueAt !== undefined && this.#run.mayWait()
  }

  get #hasRoom(): boolean {
    const { concurrency } = this.#run.parts.consumer.settings
    return this.#next === this.#waiting.length && this.#handlers.running < concurrency
  }

  #take(deliveries: readonly Delivery[]): Settlement[] {
    return deliveries.map((delivery) => {
      const outcome = this.#unsettled.get(delivery) ?? released(delivery)
      this.#unsettled.delete(delivery)
      return settlement(delivery, outcome)
    })
  }

  #pump(): void {
    if (this.#isPumping || this.#isOver) return
    this.#isPumping = true
    this.#cancelTimer()
    const { concurrency } = this.#run.parts.consumer.settings
    while (this.#next < this.#waiting.length && this.#handlers.running < concurrency && this.#run.mayStart())
      this.#start(this.#waiting[this.#next++] as Delivery)
    this.#dueAt = this.#handlers.flush(concurrency)
    this.#isPumping = false
    if (this.#dueAt !== undefined) this.#wakeAt(this.#dueAt)
    else if (this.#isClosed && this.#handlers.running === 0) this.#isOver = true
    if (this.#isOver) this.#over.resolve()
    this.#resume()
  }

  /** What waits is handed over then, or as late as it can still be settled. */
  #wakeAt(dueAt: number): void {
    const { clock } = this.#run.parts
    const waitMs = Math.min(dueAt - clock.monotonic(), this.#run.waitableMs())
    this.#cancelTimer = clock.after(Math.max(1, Math.ceil(waitMs)), () => this.#pump())
  }

  #start(delivery: Delivery): void {
    this.#handlers.start(delivery, this.#deliveredAt, (outcome) => {
      this.#unsettled.set(delivery, outcome)
      if (this.#run.hasOverrun(delivery) && this.#overran.push(delivery) === 1)
        queueMicrotask(() => this.#settleOverran())
      this.#pump()
    })
  }

  #settleOverran(): void {
    if (!this.#isOver) this.#settling.push(this.#run.settleMeanwhile(this.#take(this.#overran)))
    this.#overran = []
  }
}
