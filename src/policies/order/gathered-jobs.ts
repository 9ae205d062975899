import type { BatchRouteRules } from '../../define/route.ts'
import type { Job } from '../../run/job.ts'

/** Jobs of one batch route that wait for their call, in the order in which they came. */
interface Part {
  readonly limits: BatchRouteRules['limits']
  readonly jobs: Set<Job>
  bytes: number
}

/**
 * Jobs that wait for the call of a batch route, as the pool has them. A call takes the first of a part, as many as fit: what was in the first call's bounds when it came is in the same call as
 * all that was there before it.
 */
export class GatheredJobs {
  readonly #parts = new Map<string, Part>()

  /** Whether it would be in the same call as one that waits. */
  mayJoin(job: Job, before: Job): boolean {
    const name = partOf(job)
    const part = name === undefined ? undefined : this.#parts.get(name)
    if (!part?.jobs.has(before)) return false
    const { maxEvents, maxBytes } = part.limits
    return part.jobs.size < maxEvents && part.bytes + job.bytes <= maxBytes
  }

  /** A job leaves the queue. @returns Whether it waits for the call of a batch route now. */
  add(job: Job): boolean {
    const name = partOf(job)
    const limits = job.prepared?.route.batching?.limits
    if (name === undefined || !limits) return false
    const part: Part = this.#parts.get(name) ?? { limits, jobs: new Set(), bytes: 0 }
    this.#parts.set(name, part)
    part.jobs.add(job)
    part.bytes += job.bytes
    return true
  }

  /** It waits no longer. @returns Whether it did. */
  remove(job: Job): boolean {
    const name = partOf(job)
    const part = name === undefined ? undefined : this.#parts.get(name)
    if (!part?.jobs.delete(job)) return false
    part.bytes -= job.bytes
    return true
  }
}

/** Where batches are bisected, only those of one delivery count share a call. */
function partOf({ prepared, deliveryCount }: Job): string | undefined {
  const route = prepared?.route
  if (!route?.batching) return undefined
  return `${route.batching.bisectOnError ? deliveryCount : 0} ${route.event.type}`
}
