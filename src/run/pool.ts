import { HandlerTimeoutError } from '../errors.ts'
import type { Delivery, Settlement } from '../group/group.ts'
import type { Route } from '../route.ts'
import { Call } from './call.ts'
import type { AnyGathering } from './gathering.ts'
import { isDone, Job } from './job.ts'
import type { Prepared } from './prepare.ts'
import type { Run } from './run.ts'

/**
 * Runs handlers, at most `atOnce` side by side, each within `handlerTimeoutMs`, as long as there is time to settle them.
 *
 * Jobs wait in a queue. A lane is a loop: it takes the next job, calls its handler and waits for it, until there is nothing left to take. The
 * event of a batch route joins those that it waits with, and the lane goes on; once they are due a lane takes them, as one call. A call whose
 * time is over loses its lane to another one.
 */
export class Pool {
  /** Handlers that run side by side. */
  atOnce: number
  /** Ids of jobs that no lane took while there was time. */
  readonly cutOff = new Set<string>()
  readonly #run: Run
  readonly #mayLinger: boolean
  readonly #onOverrun: () => void
  /** Everything that is not settled yet, in its order. */
  #jobs: Job[] = []
  /** What no lane has taken yet: the queue from `#next` on. */
  #queue: Job[] = []
  #next = 0
  /**
   * The call that each lane is at. No Set: V8 chains a set's outgrown tables to those that follow, and so keeps whatever was ever in one of
   * them until the next full collection.
   */
  readonly #lanes: (Call | undefined)[] = []
  /** Places in `#lanes` of lanes that have closed. */
  readonly #closed: number[] = []
  /** The calls under way. */
  #running = 0
  readonly #gatherings = new Map<Route, AnyGathering<Job>>()
  #cancelExpiry: (() => void) | undefined
  #cancelDue: (() => void) | undefined
  #waiter: { readonly isMet: () => boolean; readonly resolve: () => void } | undefined

  /**
   * @param mayLinger Events wait for others for as long as their route allows; else until nothing is left to take.
   * @param onOverrun Told of calls that did not end in time.
   */
  constructor(run: Run, mayLinger: boolean, onOverrun: () => void = () => {}) {
    this.#run = run
    this.#mayLinger = mayLinger
    this.#onOverrun = onOverrun
    this.atOnce = run.parts.consumer.settings.concurrency
  }

  /** What is ours and has to stay so: all but what did not end in time. */
  get held(): readonly Job[] {
    return this.#jobs.filter(({ overran }) => !overran)
  }

  /** Jobs that no lane has taken yet. */
  get queued(): number {
    return this.#queue.length - this.#next
  }

  /** Jobs without an outcome: they run, or wait. */
  get open(): number {
    return this.#jobs.filter((job) => !isDone(job)).length
  }

  get hasDone(): boolean {
    return this.#jobs.some(isDone)
  }

  /** Nothing has failed, or was released, of what is to be settled. */
  get hasOnlyAcks(): boolean {
    return this.#jobs.every(({ outcome }) => outcome === undefined || outcome.kind === 'ack')
  }

  /** More could start at once. */
  get hasRoom(): boolean {
    return this.queued === 0 && this.#running < this.atOnce
  }

  /** Events wait for others. */
  get isGathering(): boolean {
    return [...this.#gatherings.values()].some(({ dueAt }) => dueAt !== undefined)
  }

  /** Nothing runs and nothing waits. */
  get isIdle(): boolean {
    return this.#running === 0 && this.queued === 0 && !this.isGathering
  }

  add(deliveries: readonly Delivery[]): void {
    const now = this.#run.parts.clock.now()
    const jobs = deliveries.map((delivery) => new Job(delivery, now))
    this.#jobs = [...this.#jobs, ...jobs]
    this.#queue = [...this.#queue.slice(this.#next), ...jobs]
    this.#next = 0
    this.fill()
  }

  /** Takes what has its outcome, for it to be settled. */
  takeDone(): Settlement[] {
    const done = this.#jobs.filter(isDone)
    this.#jobs = this.#jobs.filter((job) => !isDone(job))
    return done
  }

  /** Resolves once that is so; it is looked at whenever a call ends. One may wait at a time. */
  async until(isMet: () => boolean): Promise<void> {
    if (isMet()) return
    await new Promise<void>((resolve) => {
      this.#waiter = { isMet, resolve }
    })
  }

  /** Resolves once a call ends. */
  ended(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiter = { isMet: () => true, resolve }
    })
  }

  notify(): void {
    if (!this.#waiter?.isMet()) return
    const { resolve } = this.#waiter
    this.#waiter = undefined
    resolve()
  }

  /** Opens lanes, as many as there is room and work for. */
  fill(): void {
    while (this.#running < this.atOnce) {
      const call = this.#take()
      if (!call) break
      void this.#lane(call)
    }
    this.#waitForBatch()
    this.notify()
  }

  async #lane(first: Call): Promise<void> {
    const place = this.#closed.pop() ?? this.#lanes.length
    for (let call: Call | undefined = first; call; call = this.#take()) {
      this.#lanes[place] = call
      this.#running++
      try {
        const preparing = call.prepare()
        if (preparing) await this.#watch(call, preparing)
        if (call.isLost) return call.forget()
        const hasJoined = this.#join(call)
        if (preparing) this.#endPreparing(call)
        const running = hasJoined ? undefined : call.start()
        if (running) await this.#watch(call, running)
        if (call.isLost) return call.forget()
        if (!hasJoined) call.end()
      } catch (error) {
        if (call.isLost) return call.forget()
        call.fail(error)
      }
      this.#lanes[place] = undefined
      this.#running--
      if (this.#waiter) this.notify()
    }
    this.#closed.push(place)
    if (this.#running === 0) this.#rest()
    this.fill()
  }

  /** The call of the next job, or else of a batch that is due; nothing where no time is left, and then all that waits is released. */
  #take(): Call | undefined {
    const now = this.#run.parts.clock.monotonic()
    if (!this.#run.mayStart(now)) return this.#release()
    if (this.#next < this.#queue.length) return new Call(this.#run, [this.#queue[this.#next++] as Job], now)
    for (const gathering of this.#gatherings.values())
      if (this.#isDue(gathering)) return new Call(this.#run, gathering.take(), now)
    return undefined
  }

  #release(): undefined {
    for (const job of this.#queue.slice(this.#next)) {
      job.release()
      this.cutOff.add(job.id)
    }
    this.#queue = []
    this.#next = 0
    for (const gathering of this.#gatherings.values())
      while (gathering.dueAt !== undefined) for (const job of gathering.take()) job.release()
  }

  /** Puts an event of a batch route to those that it is to be handed over with. @returns Whether it is one. */
  #join(call: Call): boolean {
    const [job] = call.jobs as [Job]
    const { batching } = job.prepared?.route ?? {}
    if (!batching || call.isBatch) return false
    const { route } = job.prepared as Prepared
    const gathering = this.#gatherings.get(route) ?? batching.gather<Job>()
    this.#gatherings.set(route, gathering)
    gathering.add(job, this.#run.parts.clock.monotonic())
    return true
  }

  #isDue(gathering: AnyGathering<Job>): boolean {
    if (gathering.dueAt === undefined) return false
    const { clock } = this.#run.parts
    if (!this.#mayLinger || !gathering.hasWindow) return !this.#lanes.some((call) => call?.isPreparing)
    return !this.#run.mayWait() || gathering.isDue(clock.monotonic())
  }

  /** A batch may have waited for it. */
  #endPreparing(call: Call): void {
    call.isPreparing = false
    this.fill()
  }

  /** One timer, for the call that ends first: all have the same time limit. */
  #watch<T>({ endsAt }: Call, work: T): T {
    const { clock } = this.#run.parts
    this.#cancelExpiry ??= clock.after(Math.max(0, Math.ceil(endsAt - clock.monotonic())), () => this.#expire())
    return work
  }

  #expire(): void {
    const { clock, consumer } = this.#run.parts
    this.#cancelExpiry = undefined
    // timers may be early by less than a millisecond
    const now = clock.monotonic() + 1
    let late = 0
    let next: Call | undefined
    for (const [place, call] of this.#lanes.entries()) {
      if (!call) continue
      if (call.endsAt > now) {
        if (!next || call.endsAt < next.endsAt) next = call
        continue
      }
      late++
      this.#lanes[place] = undefined
      this.#running--
      this.#closed.push(place)
      call.lose(new HandlerTimeoutError(consumer.settings.handlerTimeoutMs))
    }
    if (next) this.#watch(next, undefined)
    if (late > 0) this.#onOverrun()
    this.fill()
  }

  /** Nothing runs: no timer of a call is left. */
  #rest(): void {
    this.#cancelExpiry?.()
    this.#cancelExpiry = undefined
  }

  /** What waits is handed over when it has waited long enough, or as late as it can still be settled. */
  #waitForBatch(): void {
    this.#cancelDue?.()
    this.#cancelDue = undefined
    if (!this.#mayLinger || this.#running >= this.atOnce) return
    const dueAt = Math.min(...[...this.#gatherings.values()].map(({ dueAt = Infinity }) => dueAt))
    if (dueAt === Infinity) return
    const { clock } = this.#run.parts
    const waitMs = Math.min(dueAt - clock.monotonic(), this.#run.waitableMs())
    this.#cancelDue = clock.after(Math.max(1, Math.ceil(waitMs)), () => this.fill())
  }
}
