import type { Clock } from '../clock.ts'
import type { MemberPlaces, PlaceTaker } from '../define/set-places.ts'
import { HandlerTimeoutError } from '../errors.ts'
import { Bulkheads } from './bulkheads.ts'
import { EarliestDeadlineTimer } from './earliest-deadline-timer.ts'
import { hasOutcome } from './entry-in-hand.ts'
import { Gatherings } from './gatherings.ts'
import type { Job } from './job.ts'
import { NextFill } from './next-fill.ts'
import type { JobsOfPolicies, PoolOfPolicies } from './pool-policies.ts'
import { poolPoliciesOf } from './pool-policies.ts'
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
export class CallPool implements PlaceTaker {
  /** Calls that run side by side. */
  atOnce: number
  /** Events wait for others for as long as their route allows; else until nothing is left to take. */
  mayLinger: boolean
  readonly #clock: Clock
  /** Jobs that no worker has taken yet: the queue from `#next` on. */
  #queue: readonly Job[] = []
  #next = 0
  /** There once a job came whose run has policies. */
  #held: JobsOfPolicies | undefined
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
  readonly #bulkheads: Bulkheads
  readonly #gatherings: Gatherings
  readonly #expiry: EarliestDeadlineTimer
  readonly #waiters = new Waiters()
  readonly #shared: MemberPlaces | undefined
  readonly #nextFill = new NextFill()

  /**
   * @param mayLinger Events wait for others for as long as their route allows; else until nothing is left to take.
   * @param shared Places that it shares with other pools, beside its own.
   */
  constructor(clock: Clock, atOnce: number, mayLinger: boolean, shared?: MemberPlaces) {
    this.#clock = clock
    this.#shared = shared
    if (shared) shared.taker = this
    this.#bulkheads = new Bulkheads(shared?.runningByType)
    this.#gatherings = new Gatherings(this.#bulkheads, () => this.#places.some((call) => call?.isPreparing))
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

  /** Something could start now, if a shared place were free for it. */
  get wantsPlace(): boolean {
    if (this.#running >= this.atOnce) return false
    if (this.queued > 0) return true
    if (this.#bulkheads.hasNext || this.#held?.hasReady) return true
    return this.#gatherings.hasDue(this.#clock.monotonic(), this.mayLinger)
  }

  /** Calls that may start beside those that run. Of a set one may always ask: its place is the next that becomes free. */
  get #room(): number {
    return Math.min(this.atOnce - this.#running, Math.max(1, this.#shared?.free ?? Infinity))
  }

  /** Nothing runs and nothing waits. */
  get isIdle(): boolean {
    return this.#open === 0
  }

  /** Jobs that count for how many more may come: all but what policies hold back, of which a few dozen may wait. */
  get load(): number {
    return this.#open - Math.min(this.#held?.count ?? 0, MOST_HELD)
  }

  /** Policies hold some back. */
  get isHolding(): boolean {
    return (this.#held?.count ?? 0) > 0
  }

  /** Events wait for others, and for nothing else. */
  get isGathering(): boolean {
    return this.#gatherings.isGathering
  }

  add(jobs: readonly Job[]): void {
    this.#queue = this.queued === 0 ? jobs : [...this.#queue.slice(this.#next), ...jobs]
    this.#next = 0
    this.#open += jobs.length
    const run = jobs[0]?.run
    if (run?.policies) {
      this.#held ??= poolPoliciesOf(run.policies).jobsOf(this.#shown())
      this.#held.serve(run)
    }
    this.fill()
  }

  /** What policies see of it. */
  #shown(): PoolOfPolicies {
    return {
      room: (route) => Math.min(this.#room, this.#bulkheads.roomOf(route)),
      queued: () => this.#queue.slice(this.#next),
      close: () => this.#open--,
      release: (jobs) => this.#release(jobs),
      fill: () => this.fill(),
    }
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
      const call = this.#nextCall()
      if (!call) break
      void this.#work(call)
    }
    this.#waitUntilDue()
    this.notify()
  }

  async #work(first: RunningCall): Promise<void> {
    const place = this.#free.pop() ?? this.#places.length
    for (let call: RunningCall | undefined = first; call; call = this.#nextCall()) {
      this.#places[place] = call
      this.#running++
      this.#shared?.started()
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
    this.#shared?.left()
  }

  #ended(jobs: readonly Job[]): void {
    const over = this.#held?.decidedOf(jobs) ?? jobs
    this.#open -= over.length
    this.#held?.over(over)
  }

  /** The next call, if there is a place for it. */
  #nextCall(): RunningCall | undefined {
    return this.#shared && !this.#shared.mayStart ? undefined : this.#take()
  }

  /** The call of the next job, or else of a batch that is due. What has no time left to start is released. */
  #take(): RunningCall | undefined {
    const now = this.#clock.monotonic()
    const held = this.#held?.take(now)
    if (held) return started(held, now)
    for (let job = this.#bulkheads.take(); job; job = this.#bulkheads.take()) {
      if (job.run.time.mayStart(now, job.neededMs)) return new RunningCall([job], now, false)
      this.#release([job])
    }
    while (this.#next < this.#queue.length) {
      const job = this.#queue[this.#next++] as Job
      if (hasOutcome(job)) continue // decided while it waited
      if (!job.run.time.mayStart(now, job.neededMs)) this.#release([job])
      else if (!this.#held?.holds(job)) return started(job, now)
    }
    for (const jobs of this.#gatherings.takeLate(now)) this.#release(jobs)
    const batch = this.#gatherings.takeDue(now, this.mayLinger)
    if (!batch) return undefined
    batch[0]?.run.policies?.called(batch)
    return new RunningCall(batch, now, true)
  }

  #release(jobs: readonly Job[]): void {
    for (const job of jobs) {
      job.release()
      job.hadNoTurn = true
    }
    this.#open -= jobs.length
    this.#held?.over(jobs)
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
    const heldMs = this.#running === 0 ? (this.#held?.startableMs ?? Infinity) : Infinity
    const gatheredMs = this.mayLinger ? this.#gatherings.waitMs(this.#clock.monotonic()) : Infinity
    if (heldMs === Infinity && gatheredMs === Infinity) return
    const runs = [...(this.#held?.runs ?? []), ...this.#gatherings.runs]
    this.#nextFill.plan(this.#clock, Math.min(heldMs, gatheredMs), runs, () => this.fill())
  }
}

/** The call of a job that leaves the queue. */
function started(job: Job, now: number): RunningCall {
  job.run.policies?.started(job)
  return new RunningCall([job], now, false)
}
