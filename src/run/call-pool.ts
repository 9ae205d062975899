import type { Clock } from '../clock.ts'
import { HandlerTimeoutError } from '../errors.ts'
import { Bulkheads } from './bulkheads.ts'
import { EarliestDeadlineTimer } from './earliest-deadline-timer.ts'
import { hasOutcome } from './entry-in-hand.ts'
import { Gatherings } from './gatherings.ts'
import { HeldJobs } from './held-jobs.ts'
import type { Job } from './job.ts'
import { NextFill } from './next-fill.ts'
import { PolicyDecisions } from './policy-decisions.ts'
import { RunningCall } from './running-call.ts'
import { Waiters } from './waiters.ts'

/** Jobs that policies hold back beside those that run. */
const MOST_HELD = 100

/**
 * Runs calls, at most `atOnce` side by side, each within its time, as long as there is time to settle them. It knows no stream: jobs bring
 * the run they are of.
 *
 * A job waits in the queue until a worker takes it, is under way while its call is, may wait for others where its route is a batch route's, and
 * leaves the pool with an outcome: its call's, or a release where no time was left to start it. A worker is a loop: it takes what is next,
 * makes the call and waits for it, until there is nothing to take. A call whose time is over leaves its place to another worker.
 */
export class CallPool {
  /** Calls that run side by side. */
  atOnce: number
  /** Events wait for others for as long as their route allows; else until nothing is left to take. */
  mayLinger: boolean
  readonly #clock: Clock
  /** Jobs that no worker has taken yet: the queue from `#next` on. */
  #queue: readonly Job[] = []
  #next = 0
  readonly #held = new HeldJobs()
  readonly #decisions = new PolicyDecisions(
    this.#held,
    () => this.#queue.slice(this.#next),
    () => this.#open--,
  )
  /** Jobs without an outcome. */
  #open = 0
  /**
   * The call that each worker is at. No Set: V8 chains a set's outgrown tables to those that follow, and so keeps whatever was ever in one of
   * them until the next full collection.
   */
  readonly #places: (RunningCall | undefined)[] = []
  /** Places whose worker has ended. */
  readonly #free: number[] = []
  #running = 0
  readonly #bulkheads = new Bulkheads()
  readonly #gatherings = new Gatherings(this.#bulkheads)
  readonly #expiry: EarliestDeadlineTimer
  readonly #waiters = new Waiters()
  readonly #nextFill = new NextFill()

  /** @param mayLinger Events wait for others for as long as their route allows; else until nothing is left to take. */
  constructor(clock: Clock, atOnce: number, mayLinger: boolean) {
    this.#clock = clock
    this.atOnce = atOnce
    this.mayLinger = mayLinger
    this.#expiry = new EarliestDeadlineTimer(clock, () => this.#expire())
  }

  /** Jobs that no worker has taken yet. */
  get queued(): number {
    return this.#queue.length - this.#next
  }

  /** Jobs without an outcome: they run, or wait. */
  get open(): number {
    return this.#open
  }

  /** Jobs that wait for a call of their own route to end: the others go past them. */
  get waiting(): number {
    return this.#bulkheads.waiting + this.#gatherings.waiting
  }

  /** More could start at once, or what comes next might. */
  get hasRoom(): boolean {
    return this.queued === 0 && this.#running < this.atOnce && !this.isCongested
  }

  /** So many of one route wait for its calls to end that nothing more is brought. */
  get isCongested(): boolean {
    return this.#bulkheads.isFull((route) => this.#gatherings.sizeOf(route))
  }

  /** Nothing runs and nothing waits. */
  get isIdle(): boolean {
    return this.#open === 0
  }

  /** Jobs that count for how many more may come: all but what policies hold back, of which a few dozen may wait. */
  get load(): number {
    return this.#open - Math.min(this.#held.all.length, MOST_HELD)
  }

  /** Policies hold some back. */
  get isHolding(): boolean {
    return this.#held.all.length > 0
  }

  /** Events wait for others, and for nothing else. */
  get isGathering(): boolean {
    return this.#gatherings.isGathering
  }

  add(jobs: readonly Job[]): void {
    this.#queue = this.queued === 0 ? jobs : [...this.#queue.slice(this.#next), ...jobs]
    this.#next = 0
    this.#open += jobs.length
    const policies = jobs[0]?.run.policies
    // not at once: whoever calls it is one that is being asked
    if (policies) {
      policies.resume = () => queueMicrotask(() => this.fill())
      policies.room = (route) => Math.max(0, Math.min(this.atOnce - this.#running, this.#bulkheads.roomOf(route)))
      const [{ run }] = jobs as [Job]
      policies.decide = (id, decision) => {
        if (this.#decisions.decide(run, id, decision)) this.fill()
      }
    }
    this.fill()
  }

  /** Resolves once that is so; it is inspected whenever a call ends. */
  async until(isMet: () => boolean): Promise<void> {
    await this.#waiters.until(isMet)
  }

  /** Resolves once a call ends. */
  async ended(): Promise<void> {
    const { open } = this
    await this.until(() => this.#open < open)
  }

  /** Looks whether what somebody waits for is so by now. */
  notify(): void {
    this.#waiters.notify()
  }

  /** Sets as many workers to work as there is room for, and work. Whoever changes what may start calls it. */
  fill(): void {
    while (this.#running < this.atOnce) {
      const call = this.#take()
      if (!call) break
      void this.#work(call)
    }
    this.#waitUntilDue()
    this.notify()
  }

  async #work(first: RunningCall): Promise<void> {
    const place = this.#free.pop() ?? this.#places.length
    for (let call: RunningCall | undefined = first; call; call = this.#take()) {
      this.#places[place] = call
      this.#running++
      let hasJoined = false
      try {
        const preparing = call.prepare()
        if (call.isTooLate) {
          this.#leave(place)
          call.putBack(preparing)
          this.#release(call.jobs)
          continue
        }
        if (preparing) await this.#watched(call, preparing)
        if (call.isExpired) return call.forget()
        // a payload may have to be loaded before its route is known
        if (preparing && call.isTooLate) {
          this.#leave(place)
          this.#release(call.jobs)
          continue
        }
        hasJoined = this.#gatherings.join(call, this.#clock) || this.#bulkheads.putsOff(call)
        // a batch may have waited for it
        if (call.endPreparing()) this.fill()
        const running = hasJoined ? undefined : call.start()
        const answer = running && (await this.#watched(call, running))
        const storing = hasJoined || call.isExpired ? undefined : call.stored()
        if (storing) await this.#watched(call, storing)
        if (call.isExpired) return call.forget()
        if (!hasJoined) call.end(answer)
      } catch (error) {
        if (call.isExpired) return call.forget()
        call.fail(error)
      }
      this.#leave(place)
      if (!hasJoined) this.#ended(call.jobs)
      this.notify()
    }
    this.#free.push(place)
    if (this.#running === 0) this.#expiry.stop()
    this.fill()
  }

  #leave(place: number): void {
    this.#bulkheads.leave(this.#places[place])
    this.#places[place] = undefined
    this.#running--
  }

  #ended(jobs: readonly Job[]): void {
    const over = this.#held.decidedOf(jobs)
    this.#open -= over.length
    if (over.length > 0) this.#decisions.over(over)
  }

  /** The call of the next job, or else of a batch that is due. What has no time left to start is released. */
  #take(): RunningCall | undefined {
    const now = this.#clock.monotonic()
    const held = this.#takeHeld(now)
    if (held) return held
    for (let job = this.#bulkheads.take(); job; job = this.#bulkheads.take()) {
      if (job.run.time.mayStart(now, job.neededMs)) return new RunningCall([job], now, false)
      this.#release([job])
    }
    while (this.#next < this.#queue.length) {
      const job = this.#queue[this.#next++] as Job
      if (hasOutcome(job)) continue // decided while it waited
      if (!job.run.time.mayStart(now, job.neededMs)) this.#release([job])
      else if (job.run.policies?.holds && this.#isHeld(job)) this.#held.hold(job)
      else return started(job, now)
    }
    for (const jobs of this.#gatherings.takeLate(now)) this.#release(jobs)
    const isPreparing = () => this.#places.some((call) => call?.isPreparing)
    const batch = this.#gatherings.takeDue(now, this.mayLinger, isPreparing)
    return batch && new RunningCall(batch, now, true)
  }

  #takeHeld(now: number): RunningCall | undefined {
    for (const job of this.#held.all) {
      if (hasOutcome(job)) continue // decided when one before it was released
      const mayStart = job.run.time.mayStart(now, job.neededMs)
      if (mayStart && this.#isHeld(job)) continue
      this.#held.letGo(job)
      if (mayStart) return started(job, now)
      this.#release([job])
    }
    return undefined
  }

  /** Policies are asked only once its route has room: what waits for that holds nothing of theirs. */
  #isHeld(job: Job): boolean {
    const { policies } = job.run
    return policies !== undefined && (this.#bulkheads.roomOf(job.route) === 0 || policies.isHeld(job))
  }

  #release(jobs: readonly Job[]): void {
    for (const job of jobs) {
      job.release()
      job.hadNoTurn = true
    }
    this.#open -= jobs.length
    this.#decisions.over(jobs)
  }

  #watched<T>({ endsAt }: RunningCall, work: T): T {
    this.#expiry.watch(endsAt)
    return work
  }

  #expire(): void {
    // timers may be early by less than a millisecond
    const now = this.#clock.monotonic() + 1
    this.#expiry.stop()
    const expired: RunningCall[] = []
    for (const [place, call] of this.#places.entries()) {
      if (!call) continue
      if (call.endsAt > now) {
        this.#expiry.watch(call.endsAt)
        continue
      }
      expired.push(call)
      this.#leave(place)
      this.#free.push(place)
      call.expire(new HandlerTimeoutError(call.timeoutMs))
      this.#ended(call.jobs)
    }
    for (const run of new Set(expired.map(({ jobs: [job] }) => (job as Job).run))) run.settler.settleMeanwhile()
    this.fill()
  }

  /** What waits is handed over when it has waited long enough, or as late as it can still be settled. */
  #waitUntilDue(): void {
    this.#nextFill.cancel()
    if (this.#running >= this.atOnce) return
    // what is held back is released once nothing can start any more
    const heldMs = this.#running === 0 ? this.#held.startableMs : Infinity
    const gatheredMs = this.mayLinger ? this.#gatherings.waitMs(this.#clock.monotonic()) : Infinity
    if (heldMs === Infinity && gatheredMs === Infinity) return
    const runs = [...this.#held.all.map(({ run }) => run), ...this.#gatherings.runs]
    this.#nextFill.plan(this.#clock, Math.min(heldMs, gatheredMs), runs, () => this.fill())
  }
}

/** The call of a job that leaves the queue. */
function started(job: Job, now: number): RunningCall {
  job.run.policies?.started(job)
  return new RunningCall([job], now, false)
}
