import type { Outcome } from '../core/outcome.ts'
import { ACK, judgeFailure } from '../core/outcome.ts'
import { HandlerTimeoutError } from '../errors.ts'
import type { Delivery, Settlement } from '../group/group.ts'
import { EntryContext } from './context.ts'
import type { Prepared, Rejected } from './prepare.ts'
import { prepare } from './prepare.ts'
import type { Run } from './run.ts'
import { isThenable } from './thenable.ts'

/**
 * Runs the handlers of a batch, at most `concurrency` side by side, each within `handlerTimeoutMs`, as long as there is time to settle
 * them. What could not start any more is released.
 *
 * @returns An outcome for every entry, in the batch's order.
 */
export function runBatch(deliveries: readonly Delivery[], run: Run): Promise<Settlement[]> {
  return new Promise((resolve) => new Batch(deliveries, run, resolve).pump())
}

/** An entry whose handler runs. */
interface Task {
  readonly at: number
  readonly delivery: Delivery
  readonly endsAt: number
  prepared: Prepared | undefined
  context: EntryContext | undefined
  over: boolean
}

/**
 * Entries wait, run, and are over, in that order; `#next` parts the waiting from the rest, `#running` counts those in between. An entry is
 * over when its handler settled or its time is up, whichever is first, and `#finish` alone makes it so.
 */
class Batch {
  readonly #deliveries: readonly Delivery[]
  readonly #run: Run
  readonly #resolve: (settlements: Settlement[]) => void
  readonly #outcomes: (Outcome | undefined)[]
  readonly #deliveredAt: number
  /** Every task that did not end at once, in order of its time limit. */
  readonly #tasks: Task[] = []
  #oldest = 0
  #next = 0
  #running = 0
  #cancelTimer: (() => void) | undefined

  constructor(deliveries: readonly Delivery[], run: Run, resolve: (settlements: Settlement[]) => void) {
    this.#deliveries = deliveries
    this.#run = run
    this.#resolve = resolve
    this.#outcomes = []
    this.#deliveredAt = run.parts.clock.now()
  }

  /** Starts what may start; once nothing runs and nothing more may start, the batch is over. */
  pump(): void {
    const { concurrency } = this.#run.parts.consumer.settings
    while (this.#next < this.#deliveries.length && this.#running < concurrency && this.#run.mayStart())
      this.#start(this.#next++)
    if (this.#running > 0) return
    this.#cancelTimer?.()
    this.#resolve(this.#deliveries.map((delivery, at) => settlement(delivery, this.#outcomes[at])))
  }

  #start(at: number): void {
    const { clock, consumer } = this.#run.parts
    const delivery = this.#deliveries[at] as Delivery
    const endsAt = clock.monotonic() + consumer.settings.handlerTimeoutMs
    const task: Task = { at, delivery, endsAt, prepared: undefined, context: undefined, over: false }
    try {
      const result = this.#handle(task)
      if (!isThenable(result)) {
        this.#outcomes[at] = result
        return
      }
      this.#running++
      this.#watch(task)
      result.then(
        (outcome) => this.#finish(task, outcome),
        (error) => this.#finish(task, this.#failure(task, error)),
      )
    } catch (error) {
      this.#outcomes[at] = this.#failure(task, error)
    }
  }

  #handle(task: Task): Outcome | PromiseLike<Outcome> {
    const prepared = prepare(task.delivery, this.#run.parts.consumer)
    return isThenable(prepared) ? prepared.then((ready) => this.#call(task, ready)) : this.#call(task, prepared)
  }

  #call(task: Task, prepared: Prepared | Rejected): Outcome | PromiseLike<Outcome> {
    if (prepared.kind === 'rejected') return this.#letter(prepared.reason, prepared.error, prepared.decoded)
    if (task.over) return ACK // an asynchronous schema took all the time: the entry is retried, its handler is not called
    const { clock } = this.#run.parts
    const remainingMs = () => Math.max(0, task.endsAt - clock.monotonic())
    task.prepared = prepared
    task.context = new EntryContext(this.#run.parts, task.delivery, prepared.event, remainingMs)
    const returned = prepared.route.handler(prepared.event as never, task.context)
    return isThenable(returned) ? Promise.resolve(returned).then(toAck) : ACK
  }

  #finish(task: Task, outcome: Outcome): void {
    if (task.over) {
      this.#run.overrunning--
      return
    }
    task.over = true
    this.#outcomes[task.at] = outcome
    this.#running--
    this.pump()
  }

  #failure(task: Task, error: unknown): Outcome {
    const { consumer, random } = this.#run.parts
    const verdict = judgeFailure(error, task.delivery.deliveryCount, consumer.settings, random())
    return verdict.kind === 'retry' ? verdict : this.#letter(verdict.reason, error, task.prepared?.decoded)
  }

  #letter(reason: Rejected['reason'], error: unknown, decoded: Rejected['decoded']): Outcome {
    const facts = { reason, error, lastDeliveredAt: this.#deliveredAt, failedAt: this.#run.parts.clock.now() }
    const { eventId, type, version = 1, traceparent } = decoded ?? {}
    return {
      kind: 'dead-letter',
      letter: decoded ? { ...facts, eventId, eventType: type, schemaVersion: version, traceparent } : facts,
    }
  }

  /** One timer a batch, set for the oldest task: all have the same time limit. */
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
    this.#run.overrunning++
    this.#finish(task, this.#failure(task, error))
  }
}

const toAck = (): Outcome => ACK

function settlement({ id, deliveryCount, returnTo }: Delivery, outcome: Outcome | undefined): Settlement {
  return { id, deliveryCount, outcome: outcome ?? { kind: 'release', ...returnTo, deliveryCount: deliveryCount - 1 } }
}
