import type { Clock } from '../clock.ts'
import type { Gathering } from '../define/gathering.ts'
import type { BatchRouteRules } from '../define/route.ts'
import type { BoundRoute } from '../define/route-settings.ts'
import type { Bulkheads } from './bulkheads.ts'
import { hasOutcome } from './entry-in-hand.ts'
import type { Job } from './job.ts'
import type { PreparedEntry } from './prepare.ts'
import type { Run } from './run.ts'
import type { RunningCall } from './running-call.ts'

/** Events of one batch route, of one run. */
interface Gathered {
  readonly run: Run
  readonly route: BoundRoute
  readonly events: Gathering<Job>
}

const NONE: readonly Gathered[] = []

/** The events of batch routes that a pool has, until they are handed over together. */
export class Gatherings {
  readonly #gathered: Gathered[] = []
  readonly #bulkheads: Bulkheads

  readonly #isPreparing: () => boolean

  /** @param isPreparing Whether an event may still join. */
  constructor(bulkheads: Bulkheads, isPreparing: () => boolean) {
    this.#bulkheads = bulkheads
    this.#isPreparing = isPreparing
  }

  /** Events wait for others, and for nothing else. */
  get isGathering(): boolean {
    return this.#open.length > 0
  }

  /** Of all events that ever waited. */
  get runs(): readonly Run[] {
    return this.#gathered.map(({ run }) => run)
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

  /** Puts an event of a batch route to those that share its call. @returns Whether it is one. */
  join({ jobs, isBatch }: RunningCall, clock: Clock): boolean {
    const job = jobs[0] as Job
    const { run, prepared } = job
    if (isBatch || hasOutcome(job) || !prepared?.route.batching) return false
    this.#gatheringOf(run, prepared).add(job, clock.monotonic())
    return true
  }

  /** What has no time left to start, one batch after the other. */
  takeLate(now: number): readonly (readonly Job[])[] {
    if (this.#gathered.length === 0) return []
    const late: (readonly Job[])[] = []
    for (const { run, route, events } of this.#open)
      if (!run.time.mayStart(now, route.settings.handlerTimeoutMs))
        while (events.dueAt !== undefined) late.push(events.take())
    return late
  }

  /** @param mayLinger Events wait for others for as long as their route allows. */
  takeDue(now: number, mayLinger: boolean): readonly Job[] | undefined {
    return this.#findDue(now, mayLinger)?.events.take()
  }

  /** Whether `takeDue` would take something. */
  hasDue(now: number, mayLinger: boolean): boolean {
    return this.#findDue(now, mayLinger) !== undefined
  }

  /** Milliseconds until the first has waited long enough, or can wait no longer to be settled in time; Infinity: none waits. */
  waitMs(now: number): number {
    let waitMs = Infinity
    for (const { run, events } of this.#open)
      waitMs = Math.min(waitMs, (events.dueAt as number) - now, run.time.waitableMs())
    return waitMs
  }

  #findDue(now: number, mayLinger: boolean): Gathered | undefined {
    for (const gathered of this.#open) if (this.#isDue(gathered, now, mayLinger)) return gathered
    return undefined
  }

  #isDue({ run, route, events }: Gathered, now: number, mayLinger: boolean): boolean {
    if (!run.time.mayStart(now, route.settings.handlerTimeoutMs)) return false
    if (!mayLinger || !events.hasWindow) return !this.#isPreparing()
    return !run.mayWait() || events.isDue(now)
  }

  /** Those with events that wait for others, and for nothing else. */
  get #open(): readonly Gathered[] {
    if (this.#gathered.length === 0) return NONE
    return this.#gathered.filter(({ route, events }) => events.dueAt !== undefined && this.#bulkheads.roomOf(route) > 0)
  }

  #gatheringOf(run: Run, { route }: PreparedEntry): Gathering<Job> {
    const known = this.#gathered.find((gathered) => gathered.run === run && gathered.route === route)
    if (known) return known.events
    const events = (route.batching as BatchRouteRules).gather<Job>(route.settings.maxDeliveries)
    this.#gathered.push({ run, route, events })
    return events
  }
}
