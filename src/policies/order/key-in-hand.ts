import { compareEntryIds } from '../../core/entry.ts'
import type { Job } from '../../run/job.ts'

/** What a run holds of one key. */
export interface KeyInHand {
  readonly lane: string
  /** In the order in which they were read; the first may run. */
  readonly jobs: Job[]
  /** Ids of those that stay undone, until it is known that this is stored: all that comes after waits behind them. */
  readonly undone: Set<string>
  /** Its first job, whose outcome is being stored. */
  storing: Job | undefined
  /** How many of the jobs, from the first, wait for one call of a batch route: the next may join them. */
  gathered: number
}

/** It came with the whole of its lane. */
export function isOfLane({ delivery }: Job): boolean {
  return delivery.isOfLane === true
}

export function isBefore(one: Job, other: Job): boolean {
  return one !== other && compareEntryIds(one.id, other.id) < 0
}
