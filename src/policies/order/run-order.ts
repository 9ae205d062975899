import type { Outcome } from '../../core/outcome.ts'
import type { Decision, PolicyJob, PolicyQuestion, PolicyReply, RunPolicy } from '../../define/policy.ts'
import type { LaneAsked, OrderedGroup, OrderListener } from '../../group/ordering.ts'
import { laneOfKey, ORDER_POLICY } from '../../group/ordering.ts'
import type { CheckedPolicyDecision, DecidableJob } from '../../run/checked-policy-decision.ts'
import type { Job } from '../../run/job.ts'
import type { OrderOfRun, PolicyRunInside, PolledConditions } from '../../run/policy-engine.ts'
import type { AfterBatchItemFailure } from './batch-failures.ts'
import { BatchFailures } from './batch-failures.ts'
import { GatheredJobs } from './gathered-jobs.ts'
import type { KeyInHand } from './key-in-hand.ts'
import { isBefore, isOfLane } from './key-in-hand.ts'
import type { OrderingKey } from './lane-names.ts'
import { laneOfEntry, orderingKeyOf } from './lane-names.ts'
import { CALLED_EARLY, isDone, isStoredFirst, kindOf, WAIT_IN_LANE } from './order-outcomes.ts'

/** What a user chose. */
export interface OrderRules {
  readonly afterBatchItemFailure: AfterBatchItemFailure
  /** A key waits after a dead letter. */
  readonly waitsForLetters: boolean
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
  readonly #waitsForLetters: boolean
  readonly #keys = new Map<string, KeyInHand>()
  readonly #keyOfJob = new Map<PolicyJob, KeyInHand>()
  readonly #errors = new Map<PolicyJob, Error>()
  readonly #seen = new WeakSet<Job>()
  /** Of jobs that stay undone. */
  readonly #keyOfUndone = new WeakMap<object, KeyInHand>()
  readonly #isPoll: boolean
  readonly #gathered = new GatheredJobs()
  /** What was decided about jobs that have no outcome yet. */
  #decided: ReadonlyMap<PolicyJob, CheckedPolicyDecision> = new Map()
  readonly #failures: BatchFailures
  /** By the key of today: first members of lanes that an older deployment made may share it. */
  readonly #laneOfJob = new WeakMap<DecidableJob, string>()
  /** What follows in a lane may be due by now. */
  isDue = false
  /** What was asked about, by the first of the jobs that wait for the answer: what is taken is admitted beside what is read. */
  readonly #asked = new Map<PolicyJob, readonly LaneAsked[]>()
  /** Something of a whole lane had to go back before it ran. */
  #takesFirstsOnly = false

  constructor(
    inside: PolicyRunInside,
    group: OrderedGroup,
    keyOf: OrderingKey,
    { afterBatchItemFailure, waitsForLetters }: OrderRules,
  ) {
    this.#failures = new BatchFailures(afterBatchItemFailure, (job) => this.#laneOfJob.get(job))
    this.#waitsForLetters = waitsForLetters
    this.#inside = inside
    this.#group = group
    this.#keyOf = keyOf
    group.listener = this
    this.#isPoll = inside.parts.action === 'poll'
    this.waiting(0)
  }

  questions(jobs: readonly PolicyJob[]): readonly PolicyQuestion[] {
    const keys = new Set(jobs.flatMap((job) => this.#keyOfJob.get(job) ?? []))
    if (!this.#group.mayHaveLanes && ![...keys].some(({ undone }) => undone.size > 0)) return []
    const most = keys.size + MORE_ASKED
    // what others did meanwhile is heard of beside it
    for (const key of keys.size > 0 ? this.#keys.values() : []) {
      if (keys.size === most) break
      if (key.undone.size > 0) keys.add(key)
    }
    const [first] = jobs
    if (!first || keys.size === 0) return []
    const asked = [...keys].map(({ lane, undone }) => ({ lane, undone: [...undone] }))
    this.#asked.set(first, asked)
    return [this.#group.laneQuestion(this.#inside.parts.slot.consumerName, asked)]
  }

  admit(jobs: readonly PolicyJob[], [reply]: readonly PolicyReply[]): readonly (Decision | undefined)[] {
    const [first] = jobs
    const asked = (first && this.#asked.get(first)) ?? []
    if (first) this.#asked.delete(first)
    if (reply instanceof Error) throw reply
    const there = this.#lanesThere(asked, reply)
    return jobs.map((job) => {
      const error = this.#errors.get(job)
      if (error) {
        this.#errors.delete(job)
        return { action: 'deadLetter', reason: 'malformed', error }
      }
      const key = this.#keyOfJob.get(job)
      if (!key || !(there.has(key.lane) || key.undone.size > 0)) return undefined
      // it would come again, and go back again
      if (isOfLane(job as Job)) this.#takesFirstsOnly = true
      return WAIT_IN_LANE
    })
  }

  /** Which of the keys that were asked about have a lane. */
  #lanesThere(asked: readonly LaneAsked[], reply: PolicyReply | undefined): ReadonlySet<string> {
    const there = new Set<string>()
    if (!Array.isArray(reply)) return there
    for (const [n, { lane, undone }] of asked.entries()) {
      const key = this.#keys.get(lane)
      if (reply[n] === 1) there.add(lane)
      else if (key) {
        // the outcomes of these are stored, and what follows them has no lane
        for (const id of undone) key.undone.delete(id)
        this.#forget(key)
      }
    }
    const isWaiting = [...this.#keys.values()].some(({ undone }) => undone.size > 0)
    if (reply.at(-1) === 0 && !isWaiting) this.#group.mayHaveLanes = false
    return there
  }

  holds(job: PolicyJob): boolean {
    const key = this.#keyOfJob.get(job)
    const [first] = key?.jobs ?? []
    if (!key || !first || first === job) return false
    if (isStoredFirst(first.outcome?.kind)) this.#store(key, first)
    const before = key.jobs[key.gathered - 1]
    return !before || key.jobs[key.gathered] !== job || !this.#gathered.mayJoin(job as Job, before)
  }

  /** What waits for that starts once it is stored. */
  #store(key: KeyInHand, first: Job): void {
    if (key.storing === first) return
    key.storing = first
    // not while the pool asks: what is decided then has to find what waits
    queueMicrotask(() => first.run.settler.settleMeanwhile())
  }

  started(job: PolicyJob): void {
    const key = this.#keyOfJob.get(job)
    if (this.#gathered.add(job as Job) && key) key.gathered++
  }

  called(jobs: readonly DecidableJob[]): void {
    this.#failures.called(jobs)
    for (const job of jobs as readonly Job[]) {
      job.isInOrder = true
      this.#ungather(job)
    }
  }

  succeeded(job: DecidableJob): CheckedPolicyDecision | undefined {
    return this.#failures.follows(job) ? CALLED_EARLY : undefined
  }

  failed(job: DecidableJob): CheckedPolicyDecision | undefined {
    return this.#failures.failed(job) ? CALLED_EARLY : undefined
  }

  #ungather(job: PolicyJob): void {
    const key = this.#keyOfJob.get(job)
    if (this.#gathered.remove(job as Job) && key) key.gathered--
  }

  ended(job: PolicyJob): ReadonlyMap<string, Decision> | undefined {
    const key = this.#keyOfJob.get(job)
    const { outcome, isTaken } = job as Job
    const kind = outcome?.kind ?? kindOf(this.#decided.get(job))
    this.#ungather(job)
    // the next of its lane is due once this is settled
    if (!key && isTaken && kind !== undefined && kind !== 'retry' && !this.#waitsAfter(kind)) this.isDue = true
    if (!key) return undefined
    // whether it is done is known once it is stored
    if (isStoredFirst(kind)) return undefined
    this.#leave(job, key)
    if (kind !== undefined && this.#isDone(kind)) {
      this.#forget(key)
      return undefined
    }
    return this.#undone(job, key)
  }

  waiting(entries: number): void {
    this.#inside.parts.report.limited('waiting', entries)
  }

  hears(decisions: ReadonlyMap<PolicyJob, CheckedPolicyDecision>): void {
    this.#decided = decisions
  }

  taking(): number {
    this.isDue = false
    const { time, parts } = this.#inside
    if (!this.#isPoll || this.#takesFirstsOnly || time.isStopped) return -1
    return Math.min(MOST_OF_LANES, parts.consumer.settings.batchSize)
  }

  /** A run that goes on could put something in order that is in order by then: it ends, and the next begins with what is stored. */
  unanswered(): void {
    if (this.#isPoll) this.#inside.time.interrupt()
  }

  /** What stays undone is settled once all that was read before it of its key has its outcome: claimers would start it as the first. */
  #isEarly(entry: object): boolean {
    return this.#keyOfUndone.get(entry)?.jobs.some((job) => !job.outcome && isBefore(job, entry as Job)) === true
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
      if (job.entryId !== entryId || !isStoredFirst((job as Job).outcome?.kind)) continue
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
    // what goes before it runs on: its outcome is settled with theirs
    const behind = key.jobs.filter((one) => isBefore(job as Job, one))
    for (const one of [job as Job, ...behind]) {
      key.undone.add(one.entryId)
      this.#keyOfUndone.set(one, key)
    }
    return new Map(behind.map((one) => [one.id, WAIT_IN_LANE]))
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
    const [{ run } = {}] = jobs
    if (run) run.settler.waits = (entry) => this.#isEarly(entry)
    for (const job of jobs) {
      if (this.#seen.has(job)) continue
      this.#seen.add(job)
      // also of what was taken: a key that cannot be read makes it a dead letter
      const lane = this.#laneOf(job)
      if (lane !== undefined) this.#laneOfJob.set(job, lane)
      // first members are alone
      if ((job.isTaken && !isOfLane(job)) || lane === undefined) continue
      const key = this.#keys.get(lane) ?? { lane, jobs: [], undone: new Set<string>(), storing: undefined, gathered: 0 }
      this.#keys.set(lane, key)
      key.undone.delete(job.id)
      if (job.outcome && this.#isDone(job.outcome.kind)) this.#forget(key)
      else if (job.outcome) {
        key.undone.add(job.id)
        this.#keyOfUndone.set(job, key)
      } else {
        // those of a lane go before what was read
        const at = key.jobs.findIndex((one) => isBefore(job, one))
        key.jobs.splice(at < 0 ? key.jobs.length : at, 0, job)
        this.#keyOfJob.set(job, key)
      }
    }
  }

  /** Whether the next of the key may start after such an outcome. */
  #isDone(kind: Outcome['kind']): boolean {
    return isDone(kind) && !this.#waitsAfter(kind)
  }

  /** Whether the key waits after such an outcome until somebody decides. */
  #waitsAfter(kind: Outcome['kind']): boolean {
    return kind === 'dead-letter' && this.#waitsForLetters
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

/** Members of whole lanes that one take brings beside their first ones, at most. */
const MOST_OF_LANES = 100

/** Keys that a question asks about beside those of its jobs. */
const MORE_ASKED = 20
