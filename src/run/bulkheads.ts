import type { Route } from '../define/route.ts'
import { hasOutcome } from './entry-in-hand.ts'
import type { Job } from './job.ts'
import type { RunningCall } from './running-call.ts'

/** A route with a `concurrency` of its own. */
interface Bulkhead {
  readonly atOnce: number
  /** How many of its jobs may wait for it before nothing more is brought: what comes next may be of the same route. */
  readonly most: number
  running: number
  readonly waiting: Job[]
}

/** Keeps the calls of a route within its own `concurrency`, so that one slow dependency leaves places to the others. Other routes cost nothing here. */
export class Bulkheads {
  readonly #bulkheads = new Map<Route, Bulkhead>()
  #waiting = 0

  /** Jobs that wait for a call of their route to end. */
  get waiting(): number {
    return this.#waiting
  }

  /** How many more calls of a route may start beside those that run. */
  roomOf(route: Route | undefined): number {
    if (route?.concurrency === undefined) return Infinity
    return route.concurrency - (this.#bulkheads.get(route)?.running ?? 0)
  }

  /** Whether so many of a route wait that nothing more is brought. @param gathered How many of its events wait beside its jobs. */
  isFull(gathered: (route: Route) => number): boolean {
    for (const [route, { most, waiting }] of this.#bulkheads) if (waiting.length + gathered(route) >= most) return true
    return false
  }

  /** Counts a call that is about to start; or, where its route has as many as it may, keeps its job until `take` answers it. @returns Whether it was put off. */
  putsOff(call: RunningCall): boolean {
    const [job] = call.jobs as [Job]
    const { route } = job
    if (route?.concurrency === undefined || hasOutcome(job)) return false
    const bulkhead = this.#of(route, route.concurrency, job)
    if (bulkhead.running < bulkhead.atOnce) {
      bulkhead.running++
      call.bulkhead = route
      return false
    }
    bulkhead.waiting.push(job)
    this.#waiting++
    return true
  }

  /** A call has ended, or its time has. */
  leave(call: RunningCall | undefined): void {
    const bulkhead = call?.bulkhead && this.#bulkheads.get(call.bulkhead)
    if (bulkhead) bulkhead.running--
  }

  /** The next job that waited and may start now. */
  take(): Job | undefined {
    if (this.#waiting === 0) return undefined
    for (const { running, atOnce, waiting } of this.#bulkheads.values()) {
      if (running >= atOnce || waiting.length === 0) continue
      this.#waiting--
      return waiting.shift()
    }
    return undefined
  }

  #of(route: Route, atOnce: number, { run }: Job): Bulkhead {
    const known = this.#bulkheads.get(route)
    if (known) return known
    const { batchSize, concurrency } = run.parts.consumer.settings
    const most = Math.max(batchSize, concurrency, route.batching?.limits.maxEvents ?? 0)
    const made: Bulkhead = { atOnce, most, running: 0, waiting: [] }
    this.#bulkheads.set(route, made)
    return made
  }
}
