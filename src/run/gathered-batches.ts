import type { Gathering } from '../define/gathering.ts'
import type { Route } from '../define/route.ts'
import { hasOutcome } from './entry-in-hand.ts'
import type { Job } from './job.ts'
import type { PreparedEntry } from './prepare.ts'
import type { Run } from './run.ts'
import type { RunningCall } from './running-call.ts'

/** Events of one batch route, of one run. */
interface Gathered {
  readonly run: Run
  readonly route: Route
  readonly events: Gathering<Job>
}

/** Events of batch routes that wait for those that share their call. */
export class GatheredBatches {
  readonly #gathered: Gathered[] = []

  /** Events wait for others. */
  get isGathering(): boolean {
    return this.#gathered.some(({ events }) => events.dueAt !== undefined)
  }

  /** Of all events that ever waited. */
  get runs(): readonly Run[] {
    return this.#gathered.map(({ run }) => run)
  }

  /** Puts an event of a batch route to those that share its call. @returns Whether it is one. */
  join({ jobs, isBatch }: RunningCall, now: number): boolean {
    const [job] = jobs as [Job]
    const { run, prepared } = job
    if (isBatch || hasOutcome(job) || !prepared?.route.batching) return false
    this.#gatheringOf(run, prepared).add(job, now)
    return true
  }

  /** What has no time left to start, one batch after the other. */
  *takeLate(now: number): Generator<readonly Job[]> {
    for (const { run, events } of this.#gathered)
      if (!run.time.mayStart(now)) while (events.dueAt !== undefined) yield events.take()
  }

  /** @param mayLinger Events wait for others for as long as their route allows. @param isPreparing Whether an event may still join. */
  takeDue(now: number, mayLinger: boolean, isPreparing: () => boolean): readonly Job[] | undefined {
    const due = this.#gathered.find(({ run, events }) => {
      if (events.dueAt === undefined || !run.time.mayStart(now)) return false
      if (!mayLinger || !events.hasWindow) return !isPreparing()
      return !run.mayWait() || events.isDue(now)
    })
    return due?.events.take()
  }

  /** Milliseconds until a batch is due, or as late as it can still be settled; Infinity: none waits. */
  waitMs(now: number): number {
    let waitMs = Infinity
    for (const { run, events } of this.#gathered)
      if (events.dueAt !== undefined) waitMs = Math.min(waitMs, events.dueAt - now, run.time.waitableMs())
    return waitMs
  }

  #gatheringOf(run: Run, { route }: PreparedEntry): Gathering<Job> {
    const known = this.#gathered.find((gathered) => gathered.run === run && gathered.route === route)
    if (known) return known.events
    const events = (route.batching as NonNullable<Route['batching']>).gather<Job>()
    this.#gathered.push({ run, route, events })
    return events
  }
}
