import type { Clock } from '../clock.ts'
import type { Outcome } from '../core/outcome.ts'
import { OUTCOME_KINDS } from '../core/outcome.ts'
import type { Gathering } from '../define/gathering.ts'
import type { Route } from '../define/route.ts'
import type { MemberPlaces, PlaceTaker } from '../define/set-places.ts'
import { HandlerTimeoutError } from '../errors.ts'
import { EarliestDeadlineTimer } from './earliest-deadline-timer.ts'
import { hasOutcome } from './entry-in-hand.ts'
import type { Job } from './job.ts'
import type { PreparedEntry } from './prepare.ts'
import type { Run } from './run.ts'
import { RunningCall } from './running-call.ts'
import { Waiters } from './waiters.ts'

/** Events of one batch route, of one run. */
interface Gathered {
  readonly run: Run
  readonly route: Route
  readonly events: Gathering<Job>
}

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
  /** Jobs that a policy holds back though there is room, the oldest first. */
  #held: Job[] = []
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
  readonly #gathered: Gathered[] = []
  readonly #expiry: EarliestDeadlineTimer
  readonly #waiters = new Waiters()
  readonly #shared: MemberPlaces | undefined
  #cancelDue: (() => void) | undefined

  /**
   * @param mayLinger Events wait for others for as long as their route allows; else until nothing is left to take.
   * @param shared Places that it shares with other pools, beside its own.
   */
  constructor(clock: Clock, atOnce: number, mayLinger: boolean, shared?: MemberPlaces) {
    this.#clock = clock
    this.#shared = shared
    if (shared) shared.taker = this
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

  /** More could start at once. */
  get hasRoom(): boolean {
    return this.queued === 0 && this.#running < this.atOnce
  }

  /** Something could start now, if a shared place were free for it. */
  get wantsPlace(): boolean {
    if (this.#running >= this.atOnce) return false
    if (this.queued > 0) return true
    const now = this.#clock.monotonic()
    return (
      this.#gathered.some((gathered) => this.#isDue(gathered, now)) ||
      this.#held.some((job) => !job.run.policies?.isHeld(job))
    )
  }

  /** Nothing runs and nothing waits. */
  get isIdle(): boolean {
    return this.#open === 0
  }

  /** Events wait for others. */
  get isGathering(): boolean {
    return this.#gathered.some(({ events }) => events.dueAt !== undefined)
  }

  add(jobs: readonly Job[]): void {
    this.#queue = this.queued === 0 ? jobs : [...this.#queue.slice(this.#next), ...jobs]
    this.#next = 0
    this.#open += jobs.length
    const policies = jobs[0]?.run.policies
    // not at once: whoever calls it is one that is being asked
    if (policies) policies.resume = () => queueMicrotask(() => this.fill())
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
        if (preparing) await this.#watched(call, preparing)
        if (call.isExpired) return call.forget()
        hasJoined = this.#join(call)
        if (preparing) this.#endPreparing(call)
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
      this.#leave(place, hasJoined ? 0 : call.jobs.length)
      if (!hasJoined) this.#over(call.jobs)
      this.notify()
    }
    this.#free.push(place)
    if (this.#running === 0) this.#expiry.stop()
    this.fill()
  }

  #leave(place: number, jobs: number): void {
    this.#places[place] = undefined
    this.#running--
    this.#shared?.left()
    this.#open -= jobs
  }

  /** The next call, if there is a place for it. */
  #nextCall(): RunningCall | undefined {
    return this.#shared && !this.#shared.mayStart ? undefined : this.#take()
  }

  /** The call of the next job, or else of a batch that is due. What has no time left to start is released. */
  #take(): RunningCall | undefined {
    const now = this.#clock.monotonic()
    if (this.#held.length > 0) {
      const call = this.#takeHeld(now)
      if (call) return call
    }
    while (this.#next < this.#queue.length) {
      const job = this.#queue[this.#next++] as Job
      if (hasOutcome(job)) continue // decided while it waited
      if (!job.run.time.mayStart(now)) this.#release([job])
      else if (job.run.policies?.holds && job.run.policies.isHeld(job)) this.#held.push(job)
      else return started(job, now)
    }
    for (const gathered of this.#gathered) {
      const { events, run } = gathered
      if (run.time.mayStart(now)) {
        if (this.#isDue(gathered, now)) return new RunningCall(events.take(), now, true)
      } else while (events.dueAt !== undefined) this.#release(events.take())
    }
    return undefined
  }

  #takeHeld(now: number): RunningCall | undefined {
    for (const job of this.#held) {
      const mayStart = job.run.time.mayStart(now)
      if (mayStart && job.run.policies?.isHeld(job)) continue
      this.#held = this.#held.filter((other) => other !== job)
      if (mayStart) return started(job, now)
      this.#release([job])
    }
    return undefined
  }

  #release(jobs: readonly Job[]): void {
    for (const job of jobs) {
      job.release()
      job.hadNoTurn = true
    }
    this.#open -= jobs.length
    this.#over(jobs)
  }

  /** Policies hear of the ends of jobs, and may decide about those that they hold back. */
  #over(jobs: readonly Job[]): void {
    const [{ run }] = jobs as [Job]
    const { policies } = run
    if (!policies?.follows) return
    // those decided about end as well, one after the other: a thousand may hang on each other
    const over = [...jobs]
    for (const job of over) {
      const isDone = job.outcome !== undefined && OUTCOME_KINDS[job.outcome.kind].counter === 'acked'
      for (const [id, decision] of policies.ended(job, isDone)) {
        const decided = this.#decide(run, id, (job) => policies.outcomeOf(decision, job, run.time.clock.now()))
        if (decided) over.push(decided)
      }
    }
  }

  /** @returns The job that was decided about, if it still waited. */
  #decide(run: Run, id: string, outcomeOf: (job: Job) => Outcome): Job | undefined {
    const isIt = (one: Job) => one.run === run && one.id === id && !hasOutcome(one)
    const job = this.#held.find(isIt) ?? this.#queue.slice(this.#next).find(isIt)
    if (!job) return undefined
    this.#held = this.#held.filter((other) => other !== job)
    job.outcome = outcomeOf(job)
    this.#open--
    return job
  }

  /** Puts an event of a batch route to those that share its call. @returns Whether it is one. */
  #join({ jobs, isBatch }: RunningCall): boolean {
    const [job] = jobs as [Job]
    const { run, prepared } = job
    if (isBatch || hasOutcome(job) || !prepared?.route.batching) return false
    this.#gatheringOf(run, prepared).add(job, this.#clock.monotonic())
    return true
  }

  #gatheringOf(run: Run, { route }: PreparedEntry): Gathering<Job> {
    const known = this.#gathered.find((gathered) => gathered.run === run && gathered.route === route)
    if (known) return known.events
    const events = (route.batching as NonNullable<Route['batching']>).gather<Job>()
    this.#gathered.push({ run, route, events })
    return events
  }

  #isDue({ run, events }: Gathered, now: number): boolean {
    if (events.dueAt === undefined) return false
    if (!this.mayLinger || !events.hasWindow) return !this.#places.some((call) => call?.isPreparing)
    return !run.mayWait() || events.isDue(now)
  }

  /** A batch may have waited for it. */
  #endPreparing(call: RunningCall): void {
    call.isPreparing = false
    this.fill()
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
      this.#leave(place, call.jobs.length)
      this.#free.push(place)
      const [{ run }] = call.jobs as [Job]
      call.expire(new HandlerTimeoutError(run.parts.consumer.settings.handlerTimeoutMs))
      this.#over(call.jobs)
    }
    for (const run of new Set(expired.map(({ jobs: [job] }) => (job as Job).run))) run.settler.settleMeanwhile()
    this.fill()
  }

  /** What waits is handed over when it has waited long enough, or as late as it can still be settled. */
  #waitUntilDue(): void {
    this.#cancelDue?.()
    this.#cancelDue = undefined
    if (this.#running >= this.atOnce) return
    let waitMs = Infinity
    // what is held back is released once nothing can start any more
    if (this.#running === 0) for (const { run } of this.#held) waitMs = Math.min(waitMs, run.time.startableMs())
    if (this.mayLinger)
      for (const { run, events } of this.#gathered) {
        if (events.dueAt === undefined) continue
        waitMs = Math.min(waitMs, events.dueAt - this.#clock.monotonic(), run.time.waitableMs())
      }
    if (waitMs === Infinity) return
    const cancelTimer = this.#clock.after(Math.max(1, Math.ceil(waitMs)), () => this.fill())
    const runs = [...this.#held, ...this.#gathered].map(({ run }) => run)
    const cancelAborts = [...new Set(runs)].map(({ time }) => time.onAbort(() => this.fill()))
    this.#cancelDue = () => {
      cancelTimer()
      for (const cancel of cancelAborts) cancel()
    }
  }
}

/** The call of a job that leaves the queue. */
function started(job: Job, now: number): RunningCall {
  job.run.policies?.started(job)
  return new RunningCall([job], now, false)
}
