import { compareEntryIds } from '../../core/entry.ts'
import { laneOfKey } from '../../group/ordering.ts'
import type { Job } from '../../run/job.ts'

/** What a run holds of one key. */
export class KeyInHand {
  readonly text: string
  /** In the order in which they were read; the first may run. */
  readonly jobs: Job[] = []
  /** Ids of those that stay undone, until it is known that this is stored: all that comes after waits behind them. Made once there is one. */
  #undone: Set<string> | undefined
  /** Its first job, whose outcome is being stored. */
  storing: Job | undefined = undefined
  /** How many of the jobs, from the first, wait for one call of a batch route: the next may join them. */
  gathered = 0

  constructor(text: string) {
    this.text = text
  }

  get lane(): string {
    return laneOfKey(this.text)
  }

  get isOver(): boolean {
    return this.jobs.length === 0 && !this.hasUndone
  }

  get hasUndone(): boolean {
    return this.#undone !== undefined && this.#undone.size > 0
  }

  get undone(): readonly string[] {
    return this.#undone ? [...this.#undone] : []
  }

  isUndone(id: string): boolean {
    return this.#undone?.has(id) === true
  }

  leaveUndone(id: string): void {
    this.#undone ??= new Set()
    this.#undone.add(id)
  }

  /** It is stored, or here again. */
  forgetUndone(id: string): void {
    this.#undone?.delete(id)
  }

  /** Those of a lane go before what was read; nothing before what has left the queue, also where somebody has set the group back. */
  add(job: Job, hasStarted: (job: Job) => boolean): void {
    let at = this.jobs.length
    for (; at > 0; at--) {
      const before = this.jobs[at - 1] as Job
      if (!isBefore(job, before) || hasStarted(before)) break
    }
    if (at === this.jobs.length) this.jobs.push(job)
    else this.jobs.splice(at, 0, job)
  }

  remove(job: Job): void {
    if (this.jobs.length === 1 && this.jobs[0] === job) this.jobs.pop()
    else {
      const at = this.jobs.indexOf(job)
      if (at >= 0) this.jobs.splice(at, 1)
    }
  }
}

/** It came with the whole of its lane. */
export function isOfLane({ delivery }: Job): boolean {
  return delivery.isOfLane === true
}

export function isBefore(one: Job, other: Job): boolean {
  return one !== other && compareEntryIds(one.id, other.id) < 0
}
