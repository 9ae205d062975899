import type { Decision, PolicyJob, PolicyQuestion, PolicyReply, RunPolicy } from '../../define/policy.ts'
import type { LaneAsked, OrderedGroup, OrderListener } from '../../group/ordering.ts'
import { ORDER_POLICY } from '../../group/ordering.ts'
import type { DecidableJob } from '../../run/checked-policy-decision.ts'
import type { Job } from '../../run/job.ts'
import type { OrderOfRun, PolicyRunInside, PolledConditions } from '../../run/policy-engine.ts'
import type { OrderingKey } from './lane-names.ts'
import { laneOfEntry, laneOfKey, orderingKeyOf } from './lane-names.ts'

/** What a run holds of one key. */
interface KeyInHand {
  readonly lane: string
  /** In the order in which they were read; the first may run. */
  readonly jobs: Job[]
  /** Ids of those that stay undone, until it is known that this is stored: all that comes after waits behind them. */
  readonly undone: Set<string>
}

/**
 * Keeps the order of keys within a poller's run: of a key one job is under way at a time. What follows one that stays undone is set aside behind it, in the same settlement; what is read later
 * of a key that has a lane joins it.
 *
 * A claimer's run is given first members of lanes, one of each: it has nothing to keep.
 */
export class RunOrder implements RunPolicy, OrderListener, OrderOfRun {
  readonly #inside: PolicyRunInside
  readonly #group: OrderedGroup
  readonly #keyOf: OrderingKey
  readonly #keys = new Map<string, KeyInHand>()
  readonly #keyOfJob = new Map<PolicyJob, KeyInHand>()
  readonly #errors = new Map<PolicyJob, Error>()
  readonly #seen = new WeakSet<Job>()
  /** What follows in a lane may be due by now. */
  isDue = false
  /** What was asked about last. */
  #asked: readonly LaneAsked[] = []

  constructor(inside: PolicyRunInside, group: OrderedGroup, keyOf: OrderingKey) {
    this.#inside = inside
    this.#group = group
    this.#keyOf = keyOf
    group.listener = this
    this.waiting(0)
  }

  questions(jobs: readonly PolicyJob[]): readonly PolicyQuestion[] {
    this.#asked = []
    if (!this.#group.mayHaveLanes) return []
    const keys = new Set(jobs.flatMap((job) => this.#keyOfJob.get(job) ?? []))
    this.#asked = [...keys].map(({ lane, undone }) => ({ lane, undone: [...undone] }))
    if (this.#asked.length === 0) return []
    return [this.#group.laneQuestion(this.#inside.parts.slot.consumerName, this.#asked)]
  }

  admit(jobs: readonly PolicyJob[], [reply]: readonly PolicyReply[]): readonly (Decision | undefined)[] {
    if (reply instanceof Error) throw reply
    const there = this.#lanesThere(reply)
    return jobs.map((job) => {
      const error = this.#errors.get(job)
      if (error) {
        this.#errors.delete(job)
        return { action: 'deadLetter', reason: 'malformed', error }
      }
      const key = this.#keyOfJob.get(job)
      return key && (there.has(key.lane) || key.undone.size > 0) ? WAIT_IN_LANE : undefined
    })
  }

  /** Which of the keys that were asked about have a lane. */
  #lanesThere(reply: PolicyReply | undefined): ReadonlySet<string> {
    const there = new Set<string>()
    if (!Array.isArray(reply)) return there
    for (const [n, { lane, undone }] of this.#asked.entries()) {
      if (reply[n] === 1) there.add(lane)
      // the outcomes of these are stored, and what follows them has no lane
      else for (const id of undone) this.#keys.get(lane)?.undone.delete(id)
    }
    const isWaiting = [...this.#keys.values()].some(({ undone }) => undone.size > 0)
    if (reply.at(-1) === 0 && !isWaiting) this.#group.mayHaveLanes = false
    return there
  }

  holds(job: PolicyJob): boolean {
    const key = this.#keyOfJob.get(job)
    return key !== undefined && key.jobs[0] !== job
  }

  ended(job: PolicyJob): ReadonlyMap<string, Decision> | undefined {
    const key = this.#keyOfJob.get(job)
    const { outcome, isTaken } = job as Job
    // the next of its lane is due once this is settled
    if (isTaken && outcome && outcome.kind !== 'retry') this.isDue = true
    if (!key) return undefined
    // whether it is done is known once it is stored with its effects
    if (outcome?.kind === 'ack-with') return undefined
    this.#leave(job, key)
    if (outcome && isDone(outcome.kind)) {
      this.#forget(key)
      return undefined
    }
    return this.#undone(job, key)
  }

  waiting(entries: number): void {
    this.#inside.parts.report.limited('waiting', entries)
  }

  taking(): void {
    this.isDue = false
  }

  conditionsWith(others: PolledConditions | undefined): PolledConditions {
    return {
      see: (conditions) => others?.see(conditions),
      over: () => others?.over() ?? [],
      dueAt: () => (this.isDue ? Number.NEGATIVE_INFINITY : (others?.dueAt() ?? Infinity)),
    }
  }

  stored(entryId: string, isStored: boolean): void {
    for (const [job, key] of this.#keyOfJob) {
      if (job.entryId !== entryId || (job as Job).outcome?.kind !== 'ack-with') continue
      this.#leave(job, key)
      if (isStored) this.#forget(key)
      else
        for (const [id, decision] of this.#undone(job, key))
          this.#inside.policies.decide(id, { ...decision, policy: ORDER_POLICY })
      this.#inside.policies.resume()
      return
    }
  }

  #undone(job: PolicyJob, key: KeyInHand): Map<string, Decision> {
    key.undone.add(job.entryId)
    for (const one of key.jobs) key.undone.add(one.entryId)
    return new Map(key.jobs.map((one) => [one.id, WAIT_IN_LANE]))
  }

  #leave(job: PolicyJob, key: KeyInHand): void {
    this.#keyOfJob.delete(job)
    const at = key.jobs.indexOf(job as Job)
    if (at >= 0) key.jobs.splice(at, 1)
  }

  #forget(key: KeyInHand): void {
    if (key.jobs.length === 0 && key.undone.size === 0) this.#keys.delete(key.lane)
  }

  /** Takes note of what was read, also of what has its outcome without a call. */
  register(given: readonly DecidableJob[]): void {
    const jobs = given as readonly Job[]
    for (const job of jobs) {
      // first members are alone
      if (job.isTaken || this.#seen.has(job)) continue
      this.#seen.add(job)
      const lane = this.#laneOf(job)
      if (lane === undefined) continue
      const key = this.#keys.get(lane) ?? { lane, jobs: [], undone: new Set<string>() }
      this.#keys.set(lane, key)
      if (job.outcome && isDone(job.outcome.kind)) this.#forget(key)
      else if (job.outcome) key.undone.add(job.id)
      else {
        key.jobs.push(job)
        this.#keyOfJob.set(job, key)
      }
    }
  }

  #laneOf(job: Job): string | undefined {
    const { consumer } = this.#inside.parts
    const decoded = job.prepared?.decoded
    if (!decoded) return laneOfEntry(consumer, this.#keyOf, job.delivery)
    try {
      const key = orderingKeyOf(this.#keyOf, decoded)
      return key === undefined ? undefined : laneOfKey(key)
    } catch (error) {
      this.#errors.set(job, error instanceof Error ? error : new TypeError(String(error)))
      return undefined
    }
  }
}

/** What is settled so waits in its lane; if that is gone by then, it comes first. */
const WAIT_IN_LANE: Decision = { action: 'park', until: '=' }

/** Outcomes after which the next of the key may start. */
function isDone(kind: string): boolean {
  return kind === 'ack' || kind === 'ignore' || kind === 'dead-letter'
}
