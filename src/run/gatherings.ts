import type { Gathering } from '../define/gathering.ts'
import type { BatchRouteRules } from '../define/route.ts'
import type { BoundRoute } from '../define/route-settings.ts'
import type { Bulkheads } from './bulkheads.ts'
import type { Job } from './job.ts'
import type { PreparedEntry } from './prepare.ts'
import type { Run } from './run.ts'

/** Events of one batch route, of one run. */
export interface Gathered {
  readonly run: Run
  readonly route: BoundRoute
  readonly events: Gathering<Job>
}

const NONE: readonly Gathered[] = []

/** The events of batch routes that a pool has, until they are handed over together. */
export class Gatherings {
  readonly #gathered: Gathered[] = []
  readonly #bulkheads: Bulkheads

  constructor(bulkheads: Bulkheads) {
    this.#bulkheads = bulkheads
  }

  add(job: Job, { route }: PreparedEntry, now: number): void {
    const { run } = job
    let known = this.#gathered.find((gathered) => gathered.run === run && gathered.route === route)
    if (!known) {
      const batching = route.batching as BatchRouteRules
      known = { run, route, events: batching.gather<Job>(route.settings.maxDeliveries) }
      this.#gathered.push(known)
    }
    known.events.add(job, now)
  }

  /** Those with events that wait for others, and for nothing else. */
  get open(): readonly Gathered[] {
    if (this.#gathered.length === 0) return NONE
    return this.#gathered.filter(({ route, events }) => events.dueAt !== undefined && this.#bulkheads.roomOf(route) > 0)
  }

  /** Events that wait for a call of their route to end. */
  get waiting(): number {
    let waiting = 0
    for (const { route, events } of this.#gathered) if (this.#bulkheads.roomOf(route) === 0) waiting += events.size
    return waiting
  }

  sizeOf(route: unknown): number {
    return this.#gathered.find((gathered) => gathered.route === route)?.events.size ?? 0
  }

  /** Milliseconds until the first has waited long enough, or can wait no longer to be settled in time. */
  waitMs(now: number): number {
    return Math.min(
      ...this.open.map(({ run, events }) => Math.min((events.dueAt as number) - now, run.time.waitableMs())),
    )
  }
}
