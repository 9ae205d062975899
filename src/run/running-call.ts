import type { DecodedEvent } from '../core/codec.ts'
import { toReadableError } from '../core/dead-letter/dead-letter.ts'
import { assertHandlerAnswer } from '../core/handler-answer.ts'
import type { Outcome } from '../core/outcome.ts'
import { ACK_OUTCOME, IGNORE_OUTCOME, judgeFailure } from '../core/outcome.ts'
import { ignoreRejection, isThenable, promiseIfThenable } from '../core/thenable.ts'
import type { EventHandler } from '../define/handler.ts'
import type { HandlerCall } from '../define/observe.ts'
import type { Route, RunningBatch } from '../define/route.ts'
import { noWorkCondition } from './awaited.ts'
import type { CallEffects } from './call-effects.ts'
import { deadLetterOutcome } from './checked-policy-decision.ts'
import { EntryContext } from './context.ts'
import { hasOutcome } from './entry-in-hand.ts'
import type { Job } from './job.ts'
import { toldKind, toObservedCall } from './observed-call.ts'
import type { PreparedEntry, PrepareResult } from './prepare.ts'
import { isWantedByRoute, prepareEntry } from './prepare.ts'
import type { RejectedEntry } from './rejected.ts'
import type { Run } from './run.ts'

/**
 * One call of a handler, for one job or for a batch of them: `prepare` → `start` → `end`, `fail` or `expire`. Its jobs are prepared, then its
 * handler is called, and once that has ended, or its time has, each of them has its outcome; all are judged here.
 */
export class RunningCall {
  readonly jobs: readonly Job[]
  /** Of events that were gathered. */
  readonly isBatch: boolean
  /** When it was made, on the monotonic clock. */
  readonly startedAt: number
  /** The route whose `concurrency` it counts in, once it started. */
  bulkhead: Route | undefined
  /** Waits for an asynchronous schema. */
  isPreparing = false
  /** Its time was over before its handler ended. */
  isExpired = false
  readonly #run: Run
  /** Whose payload does not stand in its entry. */
  loadedFor: DecodedEvent | undefined = undefined
  #loading: AbortController | undefined
  #isCalled = false
  // not closures: V8 makes one that is assigned to a member in old space, where it keeps the whole entry until the next full collection
  #context: EntryContext | undefined
  #batch: RunningBatch | undefined
  #effects: CallEffects | undefined
  #observed: { readonly call: HandlerCall; readonly startedAt: number } | undefined
  /** What observers hear. */
  #told: { readonly call: HandlerCall; readonly durationMs: number } | undefined

  /**
   * @param jobs Of one run; of one route, if they were gathered.
   * @param now On the monotonic clock.
   */
  constructor(jobs: readonly Job[], now: number, isBatch: boolean) {
    this.#run = (jobs[0] as Job).run
    this.jobs = jobs
    this.isBatch = isBatch
    this.startedAt = now
  }

  /** Milliseconds that it may take: its route's, as soon as that is known. */
  get timeoutMs(): number {
    return (this.jobs[0] as Job).neededMs
  }

  /** When its time is over, on the monotonic clock. */
  get endsAt(): number {
    return this.startedAt + this.timeoutMs
  }

  /** Its route takes longer than there was time for when it was made. */
  get isTooLate(): boolean {
    const job = this.jobs[0] as Job
    const { routeBounds } = this.#run.parts.consumer
    // where all take as long, who made it has seen to that
    if (job.neededMs === routeBounds.shortestTimeoutMs || hasOutcome(job)) return false
    return !this.#run.time.mayStart(this.startedAt, job.neededMs)
  }

  /** Aborted when its time is over, while its event is read. */
  get signal(): AbortSignal {
    this.#loading ??= new AbortController()
    return this.#loading.signal
  }

  /** Reads the event of a job; one that no retry can help has its outcome then. @returns What to wait for, if anything. */
  prepare(): PromiseLike<void> | undefined {
    const job = this.jobs[0] as Job
    if (job.prepared) return undefined
    const { policies, alwaysOn, expiry, parts, time } = this.#run
    if (policies?.inspects) policies.inspect(job, time.clock.now())
    const expired = hasOutcome(job) ? undefined : expiry?.(job.id)
    if (expired) this.#prepared(job, expired)
    const refused = hasOutcome(job) ? undefined : alwaysOn.inspect(job)
    if (refused) job.outcome = this.#letter(job, { ...refused, decoded: undefined })
    if (hasOutcome(job)) return undefined
    const prepared = prepareEntry(job.delivery, parts.consumer, expiry, job, this)
    if (!isThenable(prepared)) return this.#prepared(job, prepared)
    this.isPreparing = true
    return prepared.then((ready) => this.#prepared(job, ready))
  }

  /** @returns Whether it waited for an asynchronous schema. */
  endPreparing(): boolean {
    const wasPreparing = this.isPreparing
    this.isPreparing = false
    return wasPreparing
  }

  /** Calls the handler, unless there is nothing to call it for. @returns What to wait for, if anything. */
  start(): PromiseLike<unknown> | undefined {
    const { parts, report, alwaysOn } = this.#run
    const job = this.jobs[0] as Job
    // what is decided stays so, paused or not
    for (const one of this.jobs) if (!hasOutcome(one)) this.#pause(one, one.eventType)
    if (hasOutcome(job)) return undefined
    if (alwaysOn.unavailable.has((job.prepared as PreparedEntry).route)) return this.#throttle()
    report.invoked(this.jobs.length)
    this.#isCalled = true
    if (!parts.observers) return this.#start()
    const call = toObservedCall(this.jobs, parts)
    this.#observed = { call, startedAt: parts.clock.monotonic() }
    return parts.observers.within('handler', call, () => this.#start())
  }

  /** Its handler has ended. @returns What to wait for before what it asked for can take place, if anything. */
  stored(): PromiseLike<unknown> | undefined {
    this.#effects = this.#endEffects()
    return this.#effects?.stored()
  }

  /**
   * Whatever has no outcome by now has succeeded.
   *
   * @param answer What was waited for came to.
   * @throws {unknown} The answer says that it failed.
   */
  end(answer?: unknown): void {
    this.#assertHandled(answer)
    for (const job of this.jobs) if (!job.isJudged) this.#succeed(job)
    this.#effects?.join(this.jobs, (job, error) => this.#fail(job as Job, error))
    this.#ended()
  }

  /** All have failed that have no outcome yet. */
  fail(error: unknown): void {
    this.#endEffects()
    const isOfAll = this.jobs.length > 1 && this.jobs[0]?.prepared?.route.batching?.bisectOnError
    for (const job of this.jobs) if (!job.isJudged) this.#fail(job, error, isOfAll)
    this.#ended()
  }

  /** Ends its time: its jobs get their outcomes now, and nothing that its handler still does counts. */
  expire(error: Error): void {
    this.isExpired = true
    this.#loading?.abort(error)
    if (this.#context) EntryContext.abort(this.#context, error)
    this.#batch?.abort(error)
    this.#run.overrunning += this.jobs.length
    for (const job of this.jobs) job.overran = true
    this.fail(error)
  }

  /** It is not to go on: what its payload or schema says later does not count. */
  putBack(preparing: PromiseLike<void> | undefined): void {
    this.isExpired = true
    this.#loading?.abort()
    preparing?.then(undefined, () => {})
  }

  /** A policy has said what becomes of one of its jobs that failed. */
  decided(): void {
    if (this.#told && this.jobs.every(hasOutcome)) this.#tellEnded(this.#told)
  }

  /** The handler of an expired call has ended after all. */
  forget(): void {
    this.#run.overrunning -= this.jobs.length
  }

  #prepared(job: Job, prepared: PrepareResult): undefined {
    if (this.isExpired) return
    if (prepared.kind === 'rejected') this.#reject(job, prepared)
    else if (prepared.kind === 'ignored') job.outcome = IGNORE_OUTCOME
    else if (prepared.kind === 'awaiting') {
      this.#pause(job, prepared.eventType)
      if (!hasOutcome(job)) job.outcome = job.setAside(0, prepared.condition)
    } else {
      job.prepared = prepared
      if (!isWantedByRoute(prepared)) job.outcome = IGNORE_OUTCOME
      else this.#pause(job, prepared.event.type)
    }
  }

  /** What has expired goes, paused or not; what else is wrong with an entry of a paused type may be why somebody paused it. */
  #reject(job: Job, rejected: RejectedEntry): void {
    if (rejected.reason !== 'expired') this.#pause(job, rejected.decoded?.type)
    if (!hasOutcome(job)) job.outcome = this.#letter(job, rejected)
  }

  /** Sets aside an entry whose type is paused. */
  #pause(job: Job, type: string | undefined): void {
    const condition = this.#run.pauses.conditionFor(type)
    if (condition !== undefined) job.pause(condition)
  }

  #start(): PromiseLike<unknown> | undefined {
    const run = this.#run
    const job = this.jobs[0] as Job
    const { route, event } = job.prepared as PreparedEntry
    const { maxDeliveries } = route.settings
    const { keys } = run.parts.consumer
    const remainingMs = remainingUntil(run.time.clock, this.endsAt)
    if (route.batching) {
      this.#batch = route.batching.call(
        this.jobs,
        { ...run.surroundings, maxDeliveries },
        remainingMs,
        keys,
        route.wrapped,
      )
      return this.#batch.failures.then((failures) => this.#failSome(failures))
    }
    this.#context = new EntryContext(
      run.surroundings,
      maxDeliveries,
      run.parts.extras,
      job.delivery,
      event,
      remainingMs,
      keys,
    )
    const returned = ((route.wrapped ?? route.handler) as EventHandler)(event, this.#context)
    const answer = promiseIfThenable(returned)
    if (!answer) this.#assertHandled(returned)
    return answer
  }

  #assertHandled(answer: unknown): void {
    if (this.#context) assertHandlerAnswer(answer, (this.jobs[0] as Job).id)
  }

  #endEffects(): CallEffects | undefined {
    if (this.#context) return EntryContext.endEffects(this.#context)
    return this.#batch?.endEffects() as CallEffects | undefined
  }

  #throttle(): undefined {
    this.#run.report.throttled(this.jobs.length)
    for (const job of this.jobs) job.release(heldOf(job))
  }

  #failSome(failures: ReadonlyMap<string, unknown>): void {
    if (!this.isExpired) for (const job of this.jobs) if (failures.has(job.id)) this.#fail(job, failures.get(job.id))
  }

  /** What a policy cannot say of one job is no concern of the others. */
  #succeed(job: Job): void {
    const { policies } = this.#run
    try {
      job.outcome = policies && this.#isCalled ? policies.success(job) : ACK_OUTCOME
    } catch (error) {
      this.#fail(job, error)
    }
  }

  /** @param isOfAll The error is of several events that come again in parts: which one it is of is not known. */
  #fail(job: Job, error: unknown, isOfAll = false): void {
    const { parts, report, policies } = this.#run
    ignoreRejection(error)
    job.effects = undefined
    const verdict = judgeFailure(error, job.deliveryCount, job.settings, parts.random(), isOfAll)
    if (this.#isCalled) {
      job.error = error
      if (verdict.kind === 'release') {
        this.#run.alwaysOn.unavailable.add((job.prepared as PreparedEntry).route)
        if (verdict.isLasting) this.#run.settler.note(toReadableError(error))
      } else report.failed()
    }
    if (verdict.kind === 'release') {
      report.throttled(1)
      job.release(heldOf(job))
      return
    }
    const decoded = job.prepared?.decoded ?? this.loadedFor
    const outcome = verdict.kind === 'retry' ? verdict : this.#letter(job, { reason: verdict.reason, error, decoded })
    if (policies && this.#isCalled) policies.judge(job, outcome, error, this)
    else job.outcome = outcome
  }

  #letter(job: Job, { reason, error, decoded }: Omit<RejectedEntry, 'kind'>): Outcome {
    return deadLetterOutcome(job, reason, error, decoded, this.#run.time.clock.now())
  }

  /** Observers hear of it once it is known what became of all its jobs. */
  #ended(): void {
    if (!this.#observed) return
    const { call, startedAt } = this.#observed
    this.#told = { call, durationMs: this.#run.parts.clock.monotonic() - startedAt }
    this.decided()
  }

  #tellEnded(told: { readonly call: HandlerCall; readonly durationMs: number }): void {
    const outcomes = this.jobs.map(({ outcome, error }) => ({ kind: toldKind(outcome as Outcome), error }))
    this.#run.parts.observers?.tell('handlerEnded', { ...told, outcomes })
  }
}

/** What a job waits for whose handler takes no work now. */
function heldOf({ eventType }: Job): string | undefined {
  return eventType === undefined ? undefined : noWorkCondition(eventType)
}

function remainingUntil(clock: { monotonic(): number }, endsAt: number): () => number {
  return () => Math.max(0, endsAt - clock.monotonic())
}
