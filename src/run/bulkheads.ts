import type { Route } from '../define/route.ts'
import { hasOutcome } from './entry-in-hand.ts'
import type { Job } from './job.ts'
import type { RunningCall } from './running-call.ts'

/** A route with a `concurrency` of its own. */
interface Bulkhead {
  /** How many of its jobs may wait for it before nothing more is brought: what comes next may be of the same route. */
  readonly most: number
  readonly waiting: Job[]
}

/** Keeps the calls of a route within its own `concurrency`, so that one slow dependency leaves places to the others. Other routes cost nothing here. */
export class Bulkheads {
  readonly #bulkheads = new Map<Route, Bulkhead>()
  /** Calls of each event type that has a `concurrency` of its own. */
  readonly #running: Map<string, number>
  #waiting = 0

  /** @param running Calls by event type, where other pools count theirs as well: those of one set. */
  constructor(running = new Map<string, number>()) {
    this.#running = running
  }

  /** Jobs that wait for a call of their route to end. */
  get waiting(): number {
    return this.#waiting
  }

  /** How many more calls of a route may start beside those that run. */
  roomOf(route: Route | undefined): number {
    if (route?.concurrency === undefined) return Infinity
    return route.concurrency - this.#runningOf(route)
  }

  /** Whether so many of a route wait that nothing more is brought. @param gathered How many of its events wait beside its jobs. */
  isFull(gathered: (route: Route) => number): boolean {
    for (const [route, { most, waiting }] of this.#bulkheads) if (waiting.length + gathered(route) >= most) return true
    return false
  }

  /** Counts a call that is about to start; or, where its route has as many as it may, keeps its job until `take` answers it. @returns Whether it was put off. */
  putsOff(call: RunningCall): boolean {
    const job = call.jobs[0] as Job
    const { route } = job
    if (route?.concurrency === undefined || hasOutcome(job)) return false
    const bulkhead = this.#of(route, job)
    if (this.roomOf(route) > 0) {
      this.#running.set(route.event.type, this.#runningOf(route) + 1)
      call.bulkhead = route
      return false
    }
    bulkhead.waiting.push(job)
    this.#waiting++
    return true
  }

  /** A call has ended, or its time has. */
  leave(call: RunningCall | undefined): void {
    const route = call?.bulkhead
    if (route) this.#running.set(route.event.type, this.#runningOf(route) - 1)
  }

  /** The next job that waited and may start now. */
  take(): Job | undefined {
    const next = this.#next()
    if (next) this.#waiting--
    return next?.waiting.shift()
  }

  /** Whether one that waited may start now. */
  get hasNext(): boolean {
    return this.#next() !== undefined
  }

  #next(): Bulkhead | undefined {
    if (this.#waiting === 0) return undefined
    for (const [route, bulkhead] of this.#bulkheads)
      if (bulkhead.waiting.length > 0 && this.roomOf(route) > 0) return bulkhead
    return undefined
  }

  #runningOf({ event }: Route): number {
    return this.#running.get(event.type) ?? 0
  }

  #of(route: Route, { run }: Job): Bulkhead {
    const known = this.#bulkheads.get(route)
    if (known) return known
    const { batchSize, concurrency } = run.parts.consumer.settings
    const most = Math.max(batchSize, concurrency, route.batching?.limits.maxEvents ?? 0)
    const made: Bulkhead = { most, waiting: [] }
    this.#bulkheads.set(route, made)
    return made
  }
}
