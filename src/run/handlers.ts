import type { Outcome } from '../core/outcome.ts'
import { ACK, judgeFailure } from '../core/outcome.ts'
import { HandlerTimeoutError } from '../errors.ts'
import type { Delivery } from '../group/group.ts'
import { EntryContext } from './context.ts'
import type { Prepared, Rejected } from './prepare.ts'
import { prepare } from './prepare.ts'
import type { Run } from './run.ts'
import { isThenable } from './thenable.ts'

/** An entry whose handler runs. */
interface Task {
  readonly delivery: Delivery
  /** Milliseconds since 1970. */
  readonly deliveredAt: number
  readonly endsAt: number
  readonly end: (outcome: Outcome) => void
  prepared: Prepared | undefined
  context: EntryContext | undefined
  over: boolean
}

/**
 * Runs handlers, each within `handlerTimeoutMs`. An entry is over when its handler settled or its time is up, whichever is first, and
 * `#finish` alone makes it so.
 */
export class Handlers {
  readonly #run: Run
  /** Every task that did not end at once, in order of its time limit. */
  #tasks: Task[] = []
  #oldest = 0
  #cancelTimer: (() => void) | undefined
  #running = 0

  constructor(run: Run) {
    this.#run = run
  }

  get running(): number {
    return this.#running
  }

  /** Starts an entry's handler. @param end Is called once with its outcome, before this returns if the handler ended at once. */
  start(delivery: Delivery, deliveredAt: number, end: (outcome: Outcome) => void): void {
    const { clock, consumer } = this.#run.parts
    const endsAt = clock.monotonic() + consumer.settings.handlerTimeoutMs
    const task: Task = { delivery, deliveredAt, endsAt, end, prepared: undefined, context: undefined, over: false }
    let outcome: Outcome
    try {
      const result = this.#handle(task)
      if (isThenable(result)) {
        this.#running++
        this.#watch(task)
        result.then(
          (ended) => this.#finish(task, ended),
          (error) => this.#finish(task, this.#failure(task, error)),
        )
        return
      }
      outcome = result
    } catch (error) {
      outcome = this.#failure(task, error)
    }
    end(outcome)
  }

  #handle(task: Task): Outcome | PromiseLike<Outcome> {
    const prepared = prepare(task.delivery, this.#run.parts.consumer)
    return isThenable(prepared) ? prepared.then((ready) => this.#call(task, ready)) : this.#call(task, prepared)
  }

  #call(task: Task, prepared: Prepared | Rejected): Outcome | PromiseLike<Outcome> {
    if (prepared.kind === 'rejected') return this.#letter(task, prepared.reason, prepared.error, prepared.decoded)
    if (task.over) return ACK // an asynchronous schema took all the time: the entry is retried, its handler is not called
    const { clock } = this.#run.parts
    const remainingMs = () => Math.max(0, task.endsAt - clock.monotonic())
    task.prepared = prepared
    task.context = new EntryContext(this.#run.parts, task.delivery, prepared.event, remainingMs)
    this.#run.parts.report.invoked++
    const returned = prepared.route.handler(prepared.event as never, task.context)
    return isThenable(returned) ? Promise.resolve(returned).then(toAck) : ACK
  }

  #finish(task: Task, outcome: Outcome): void {
    if (task.over) {
      this.#run.overrunning--
      return
    }
    task.over = true
    if (--this.#running === 0) this.#rest()
    task.end(outcome)
  }

  /** Nothing runs: no timer is left, and nothing is kept of what ran. */
  #rest(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    this.#tasks = []
    this.#oldest = 0
  }

  #failure(task: Task, error: unknown): Outcome {
    const { consumer, random, report } = this.#run.parts
    if (task.context && !task.over) report.failed++
    const verdict = judgeFailure(error, task.delivery.deliveryCount, consumer.settings, random())
    return verdict.kind === 'retry' ? verdict : this.#letter(task, verdict.reason, error, task.prepared?.decoded)
  }

  #letter({ deliveredAt }: Task, reason: Rejected['reason'], error: unknown, decoded: Rejected['decoded']): Outcome {
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
    if (task.context) EntryContext.abort(task.context, error)
    this.#run.overran(task.delivery)
    this.#finish(task, this.#failure(task, error))
  }
}

const toAck = (): Outcome => ACK
