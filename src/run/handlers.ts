import { ageOf, entryBytes } from '../core/entry.ts'
import type { Outcome } from '../core/outcome.ts'
import { ACK, judgeFailure } from '../core/outcome.ts'
import { HandlerTimeoutError } from '../errors.ts'
import type { Delivery } from '../group/group.ts'
import type { EventHandler } from '../handler.ts'
import type { HandlerCall } from '../observe.ts'
import type { BatchCall, Batches, BatchHost, BatchItem, BatchPlace, Route } from '../route.ts'
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
  readonly #onGathered: () => void
  /** Every task that did not end at once, in order of its time limit. */
  #tasks: Task[] = []
  #oldest = 0
  #cancelTimer: (() => void) | undefined
  #running = 0
  /** Those whose schema is asynchronous and still checks them. */
  readonly #preparing = new Set<Task>()
  readonly #batches = new Map<Route, Batches<Item>>()

  /**
   * @param mayLinger Events of a batch wait for others for as long as their route allows.
   * @param onGathered Is called when an entry has joined others some time after it was started.
   */
  constructor(run: Run, mayLinger: boolean, onGathered: () => void) {
    this.#run = run
    this.mayLinger = mayLinger
    this.#onGathered = onGathered
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

  now(): number {
    return this.#run.parts.clock.monotonic()
  }

  mayWait(): boolean {
    return this.#run.mayWait()
  }

  mayStart(): boolean {
    return this.#run.mayStart()
  }

  release({ delivery, end }: Item): void {
    end(released(delivery))
  }

  handOver(items: readonly Item[], call: (place: BatchPlace, items: readonly BatchItem[]) => BatchCall): void {
    const task = this.#open(items)
    const { consumer, slot, lambda, extras } = this.#run.parts
    const { stream, group, settings } = consumer
    const { maxDeliveries } = settings
    const { consumerName } = slot
    const remainingMs = this.#remainingMs(task)
    const place = { stream, group, consumerName, maxDeliveries, lambda, extras, remainingMs }
    this.#follow(task, () => {
      const { failures, abort } = this.#call(task, () => call(place, items.map(toBatchItem)))
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
    const prepared = await preparing
    this.#preparing.delete(task)
    return this.#proceed(task, item, prepared)
  }

  #proceed(task: Task, item: Item, prepared: Prepared | Rejected): Ending | PromiseLike<Ending> {
    if (prepared.kind === 'rejected') return this.#letter(item, prepared.reason, prepared.error, prepared.decoded)
    if (task.over) return ACK // an asynchronous schema took all the time: the entry is retried, its handler is not called
    item.prepared = prepared
    const { route } = prepared
    if (this.#run.isUnavailable(route)) return this.#throttled(task, item)
    if (route.batching) {
      const batches = this.#batches.get(route) ?? route.batching.open<Item>(this)
      this.#batches.set(route, batches)
      batches.add(item, entryBytes(item.delivery.fields))
      return undefined
    }
    const context = new EntryContext(this.#run.parts, item.delivery, prepared.event, this.#remainingMs(task))
    task.abort = (reason) => EntryContext.abort(context, reason)
    const returned = this.#call(task, () => (route.handler as EventHandler)(prepared.event, context))
    return isThenable(returned) ? Promise.resolve(returned).then(toAck) : ACK
  }

  #remainingMs({ endsAt }: Task): () => number {
    return () => Math.max(0, endsAt - this.now())
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
    this.#preparing.delete(task)
    if (--this.#running === 0) this.#rest()
    if (ending) this.#end(task, ending)
    else this.#onGathered()
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
    this.#oldest = 0
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
    if (verdict.kind === 'release') return this.#throttled(task, item)
    return verdict.kind === 'retry' ? verdict : this.#letter(item, verdict.reason, error, item.prepared?.decoded)
  }

  #throttled({ over }: Task, { delivery }: Item): Outcome {
    if (!over) this.#run.parts.report.throttled++
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
    const expired: Task[] = []
    for (; this.#oldest < this.#tasks.length; this.#oldest++) {
      const task = this.#tasks[this.#oldest] as Task
      if (task.over) continue
      // timers may be early by less than a millisecond
      if (task.endsAt > clock.monotonic() + 1) {
        this.#setTimer(task)
        break
      }
      expired.push(task)
    }
    for (const task of expired) this.#timeOut(task, new HandlerTimeoutError(consumer.settings.handlerTimeoutMs))
  }

  #timeOut(task: Task, error: HandlerTimeoutError): void {
    task.abort?.(error)
    for (const { delivery } of task.items) this.#run.overran(delivery)
    this.#finish(task, this.#failures(task, error))
  }
}

const toAck = (): Outcome => ACK

const toBatchItem = ({ delivery, prepared }: Item): BatchItem => ({
  event: (prepared as Prepared).event,
  entryId: delivery.id,
  deliveryCount: delivery.deliveryCount,
  fields: delivery.fields,
})
