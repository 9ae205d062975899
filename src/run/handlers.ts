import { ageOf } from '../core/entry.ts'
import type { Outcome } from '../core/outcome.ts'
import { ACK, judgeFailure } from '../core/outcome.ts'
import { HandlerTimeoutError } from '../errors.ts'
import type { Delivery } from '../group/group.ts'
import type { EventHandler } from '../handler.ts'
import type { HandlerCall } from '../observe.ts'
import type { BatchCall, Batches, BatchHost, Route } from '../route.ts'
import { EntryContext } from './context.ts'
import type { Prepared, Rejected } from './prepare.ts'
import { prepare } from './prepare.ts'
import type { Run } from './run.ts'
import { released } from './settlement.ts'
import { isThenable } from './thenable.ts'

/** An entry on its way through a handler. */
interface Item {
  readonly delivery: Delivery
  /** Milliseconds since 1970. */
  readonly deliveredAt: number
  readonly end: (outcome: Outcome) => void
  prepared: Prepared | undefined
  /** What it failed with. */
  error?: unknown
}

/** What is under way within one time limit: an entry, or a batch that is handled by one call. */
interface Task {
  readonly items: readonly Item[]
  readonly endsAt: number
  /** Its handler was called. */
  isCalled: boolean
  abort: ((reason: Error) => void) | undefined
  /** Told to observers, with the time of the call. */
  observed: { readonly call: HandlerCall; readonly startedAt: number } | undefined
  over: boolean
}

/** One outcome an item; none yet where an entry has joined those that wait for others. */
type Ending = Outcome | readonly Outcome[] | undefined

/**
 * Runs handlers, each within `handlerTimeoutMs`. A task is over when its handler settled or its time is up, whichever is first, and
 * `#finish` alone makes it so. Events of a batch handler are gathered until `flush` hands them over.
 */
export class Handlers implements BatchHost<Item> {
  readonly mayLinger: boolean
  readonly #run: Run
  readonly #onPrepared: () => void
  /** Every task that did not end at once, in order of its time limit; those that are over go when the next time limit is. */
  #tasks: Task[] = []
  #cancelTimer: (() => void) | undefined
  #running = 0
  /** Those whose schema is asynchronous and still checks them. */
  readonly #preparing = new Set<Task>()
  readonly #batches = new Map<Route, Batches<Item>>()

  /**
   * @param mayLinger Events of a batch wait for others for as long as their route allows.
   * @param onPrepared Is called when an asynchronous schema is done with an entry: it has joined others, or they wait for it no longer.
   */
  constructor(run: Run, mayLinger: boolean, onPrepared: () => void) {
    this.#run = run
    this.mayLinger = mayLinger
    this.#onPrepared = onPrepared
  }

  get running(): number {
    return this.#running
  }

  /** Starts an entry's handler. @param end Is called once with its outcome, before this returns if the handler ended at once. */
  start(delivery: Delivery, deliveredAt: number, end: (outcome: Outcome) => void): void {
    const item: Item = { delivery, deliveredAt, end, prepared: undefined }
    const task = this.#open([item])
    this.#follow(task, () => {
      const prepared = prepare(delivery, this.#run.parts.consumer)
      return isThenable(prepared) ? this.#prepareLater(task, item, prepared) : this.#proceed(task, item, prepared)
    })
  }

  /** Hands gathered events over. @returns When the next batch has waited long enough; `undefined` if none waits. */
  flush(atOnce: number): number | undefined {
    let next: number | undefined
    for (const batches of this.#batches.values()) {
      const dueAt = batches.flush(atOnce)
      if (dueAt !== undefined) next = Math.min(next ?? dueAt, dueAt)
    }
    return next
  }

  get isPreparing(): boolean {
    return this.#preparing.size > 0
  }

  handOver(items: readonly Item[], call: (remainingMs: () => number) => BatchCall): void {
    const { route } = (items[0] as Item).prepared as Prepared
    if (this.#run.isUnavailable(route)) {
      for (const item of items) item.end(this.#throttled(item))
      return
    }
    const task = this.#open(items)
    this.#follow(task, () => {
      const { failures, abort } = this.#call(task, () => call(this.#remainingMs(task)))
      task.abort = abort
      return failures.then((failed) =>
        items.map((item) => {
          const { id } = item.delivery
          return failed.has(id) ? this.#failure(task, item, failed.get(id)) : ACK
        }),
      )
    })
  }

  #open(items: readonly Item[]): Task {
    const endsAt = this.#run.parts.clock.monotonic() + this.#run.parts.consumer.settings.handlerTimeoutMs
    return { items, endsAt, isCalled: false, abort: undefined, observed: undefined, over: false }
  }

  #follow(task: Task, work: () => Ending | PromiseLike<Ending>): void {
    let ending: Ending
    try {
      const result = work()
      if (isThenable(result)) {
        this.#running++
        this.#watch(task)
        result.then(
          (ended) => this.#finish(task, ended),
          (error) => this.#finish(task, this.#failures(task, error)),
        )
        return
      }
      ending = result
    } catch (error) {
      ending = this.#failures(task, error)
    }
    if (ending) this.#end(task, ending)
  }

  async #prepareLater(task: Task, item: Item, preparing: PromiseLike<Prepared | Rejected>): Promise<Ending> {
    this.#preparing.add(task)
    const ending = this.#proceed(task, item, await preparing)
    if (isThenable(ending)) this.#endPreparing(task) // its handler runs: it joins nobody
    return ending
  }

  #endPreparing(task: Task): void {
    if (this.#preparing.delete(task)) this.#onPrepared()
  }

  #proceed(task: Task, item: Item, prepared: Prepared | Rejected): Ending | PromiseLike<Ending> {
    if (prepared.kind === 'rejected') return this.#letter(item, prepared.reason, prepared.error, prepared.decoded)
    if (task.over) return ACK // an asynchronous schema took all the time: the entry is retried, its handler is not called
    item.prepared = prepared
    const { route } = prepared
    if (this.#run.isUnavailable(route)) return this.#throttled(item)
    if (route.batching) {
      const batches = this.#batches.get(route) ?? route.batching.open<Item>(this, this.#run)
      this.#batches.set(route, batches)
      batches.add(item)
      return undefined
    }
    const context = new EntryContext(this.#run.parts, item.delivery, prepared.event, this.#remainingMs(task))
    task.abort = (reason) => EntryContext.abort(context, reason)
    const returned = this.#call(task, () => (route.handler as EventHandler)(prepared.event, context))
    return isThenable(returned) ? Promise.resolve(returned).then(toAck) : ACK
  }

  #remainingMs({ endsAt }: Task): () => number {
    return () => Math.max(0, endsAt - this.#run.parts.clock.monotonic())
  }

  /** Calls a handler, observed if anybody does. */
  #call<T>(task: Task, run: () => T): T {
    const { report, observers, clock } = this.#run.parts
    report.invoked += task.items.length
    task.isCalled = true
    if (!observers) return run()
    const call = this.#describe(task)
    for (const { entryId } of call.deliveries) this.#run.handed(entryId, call.eventType)
    task.observed = { call, startedAt: clock.monotonic() }
    return observers.within('handler', call, run)
  }

  #describe({ items }: Task): HandlerCall {
    const { event, batching } = ((items[0] as Item).prepared as Prepared).route
    const { consumer, slot, clock, invocation } = this.#run.parts
    const now = clock.now()
    return {
      invocation,
      stream: consumer.stream,
      group: consumer.group,
      consumerName: slot.consumerName,
      eventType: event.type,
      isBatch: batching !== undefined,
      deliveries: items.map(({ delivery, prepared }) => ({
        entryId: delivery.id,
        eventId: (prepared as Prepared).event.eventId,
        deliveryCount: delivery.deliveryCount,
        ageMs: ageOf(delivery.id, now),
        traceparent: (prepared as Prepared).event.traceparent,
      })),
    }
  }

  #finish(task: Task, ending: Ending): void {
    if (task.over) {
      this.#run.overrunning -= task.items.length
      return
    }
    task.over = true
    if (--this.#running === 0) this.#rest()
    if (ending) this.#end(task, ending)
    this.#endPreparing(task)
  }

  #end(task: Task, ending: NonNullable<Ending>): void {
    const { items } = task
    if (task.observed) this.#tellEnded(task, task.observed, ending)
    for (const [n, item] of items.entries()) item.end('kind' in ending ? ending : (ending[n] as Outcome))
  }

  #tellEnded(
    { items }: Task,
    { call, startedAt }: NonNullable<Task['observed']>,
    ending: Outcome | readonly Outcome[],
  ): void {
    const { observers, clock } = this.#run.parts
    observers?.tell('handlerEnded', {
      call,
      durationMs: clock.monotonic() - startedAt,
      outcomes: items.map(({ error }, n) => ({
        kind: 'kind' in ending ? ending.kind : (ending[n] as Outcome).kind,
        error,
      })),
    })
  }

  /** Nothing runs: no timer is left, and nothing is kept of what ran. */
  #rest(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    this.#tasks = []
  }

  #failures(task: Task, error: unknown): readonly Outcome[] {
    return task.items.map((item) => this.#failure(task, item, error))
  }

  #failure(task: Task, item: Item, error: unknown): Outcome {
    const { consumer, random, report } = this.#run.parts
    const verdict = judgeFailure(error, item.delivery.deliveryCount, consumer.settings, random())
    if (task.isCalled && !task.over) {
      item.error = error
      if (verdict.kind === 'release') this.#run.unavailable((item.prepared as Prepared).route, error as Error)
      else report.failed++
    }
    if (verdict.kind === 'release') return task.over ? released(item.delivery) : this.#throttled(item)
    return verdict.kind === 'retry' ? verdict : this.#letter(item, verdict.reason, error, item.prepared?.decoded)
  }

  #throttled({ delivery }: Item): Outcome {
    this.#run.parts.report.throttled++
    return released(delivery)
  }

  #letter({ deliveredAt }: Item, reason: Rejected['reason'], error: unknown, decoded: Rejected['decoded']): Outcome {
    const facts = { reason, error, lastDeliveredAt: deliveredAt, failedAt: this.#run.parts.clock.now() }
    const { eventId, type, version = 1, traceparent } = decoded ?? {}
    return {
      kind: 'dead-letter',
      letter: decoded ? { ...facts, eventId, eventType: type, schemaVersion: version, traceparent } : facts,
    }
  }

  /** One timer, set for the oldest task: all have the same time limit. */
  #watch(task: Task): void {
    this.#tasks.push(task)
    if (!this.#cancelTimer) this.#setTimer(task)
  }

  #setTimer(task: Task): void {
    const { clock } = this.#run.parts
    this.#cancelTimer = clock.after(Math.max(0, Math.ceil(task.endsAt - clock.monotonic())), () => this.#expire())
  }

  #expire(): void {
    const { clock, consumer } = this.#run.parts
    this.#cancelTimer = undefined
    // timers may be early by less than a millisecond
    const now = clock.monotonic() + 1
    const expired = this.#tasks.filter((task) => !task.over && task.endsAt <= now)
    this.#tasks = this.#tasks.filter((task) => !task.over && task.endsAt > now)
    if (this.#tasks[0]) this.#setTimer(this.#tasks[0])
    for (const task of expired) this.#timeOut(task, new HandlerTimeoutError(consumer.settings.handlerTimeoutMs))
  }

  #timeOut(task: Task, error: HandlerTimeoutError): void {
    task.abort?.(error)
    for (const { delivery } of task.items) this.#run.overran(delivery)
    this.#finish(task, this.#failures(task, error))
  }
}

const toAck = (): Outcome => ACK
