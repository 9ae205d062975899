import { compareEntryIds } from '../../core/entry.ts'
import type { LaneAsked } from '../../group/ordering.ts'
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
  /** What was answered by `behind` last: all from the one up to the other, as long as none came between them. */
  #told: { readonly from: Job; readonly to: Job } | undefined
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
    if (this.#undone?.delete(id)) this.forgetTold()
  }

  /** `behind` answers all of them again. */
  forgetTold(): void {
    this.#told = undefined
  }

  /** Its jobs behind one that stays undone, but for those that were answered so before: a thousand may end one after the other. */
  behind(job: Job): readonly Job[] {
    const { jobs } = this
    const told = this.#told
    const known = told && !isBefore(job, told.from) ? jobs.lastIndexOf(told.to) + 1 : 0
    const to = jobs.at(-1)
    this.#told = to && { from: told && known > 0 ? told.from : job, to }
    return jobs.slice(known).filter((one) => isBefore(job, one))
  }

  /** Whether one that goes before it has no outcome yet. */
  hasOpenBefore(job: Job): boolean {
    for (const one of this.jobs) {
      if (!isBefore(one, job)) return false
      if (!one.outcome) return true
    }
    return false
  }

  /** Those of a lane go before what was read; nothing before what has left the queue, also where somebody has set the group back. */
  add(job: Job, hasStarted: (job: Job) => boolean): void {
    let at = this.jobs.length
    for (; at > 0; at--) {
      const before = this.jobs[at - 1] as Job
      if (!isBefore(job, before) || hasStarted(before)) break
    }
    if (at === this.jobs.length) this.jobs.push(job)
    else {
      this.jobs.splice(at, 0, job)
      this.forgetTold()
    }
  }

  remove(job: Job): void {
    if (this.jobs.length === 1 && this.jobs[0] === job) this.jobs.pop()
    else {
      const at = this.jobs.indexOf(job)
      if (at >= 0) this.jobs.splice(at, 1)
    }
  }
}

/** A key whose lane was asked for. */
export interface KeyAsked extends LaneAsked {
  readonly key: KeyInHand
}

/** It came with the whole of its lane. */
export function isOfLane({ delivery }: Job): boolean {
  return delivery.isOfLane === true
}

function isBefore(one: Job, other: Job): boolean {
  return one !== other && compareEntryIds(one.id, other.id) < 0
}
