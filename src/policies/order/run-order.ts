import type { Outcome } from '../../core/outcome.ts'
import type { Decision, PolicyJob, PolicyQuestion, PolicyReply, RunPolicy } from '../../define/policy.ts'
import type { OrderedGroup, OrderListener } from '../../group/ordering.ts'
import { ORDER_POLICY } from '../../group/ordering.ts'
import type { CheckedPolicyDecision, DecidableJob } from '../../run/checked-policy-decision.ts'
import type { EntryInHand } from '../../run/entry-in-hand.ts'
import type { Job } from '../../run/job.ts'
import type { OrderOfRun, PolicyRunInside, PolledConditions } from '../../run/policy-engine.ts'
import { BatchFailures } from './batch-failures.ts'
import { GatheredJobs } from './gathered-jobs.ts'
import { inOrder, JobInOrder } from './job-in-order.ts'
import type { KeyAsked, KeyInHand } from './key-in-hand.ts'
import { isOfLane } from './key-in-hand.ts'
import { KeysInHand } from './keys-in-hand.ts'
import type { OrderingKey } from './lane-names.ts'
import { orderingKeyOf, orderingKeyOfEntry } from './lane-names.ts'
import type { OrderRules } from './order-outcomes.ts'
import { CALLED_EARLY, isDone, isStoredFirst, kindOf, WAIT_IN_LANE } from './order-outcomes.ts'

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
  readonly #keys = new KeysInHand()
  /** Jobs whose outcomes are being stored, or will be, by their ids: those of which the server has the last word. */
  readonly #toBeStored = new Map<string, Job>()
  readonly #isPoll: boolean
  readonly #gathered = new GatheredJobs()
  /** What was decided about jobs that have no outcome yet. */
  #decided: ReadonlyMap<PolicyJob, CheckedPolicyDecision> = new Map()
  readonly #failures: BatchFailures
  /** What follows in a lane may be due by now. */
  isDue = false
  /** What was asked about, by the first of the jobs that wait for the answer: what is taken is admitted beside what is read. */
  readonly #asked = new Map<PolicyJob, readonly KeyAsked[]>()
  /** Some key could not be read. */
  #hasUnreadable = false
  /** Something of a whole lane had to go back before it ran. */
  #takesFirstsOnly = false

  constructor(
    inside: PolicyRunInside,
    group: OrderedGroup,
    keyOf: OrderingKey,
    { afterBatchItemFailure, waitsForLetters }: OrderRules,
  ) {
    this.#failures = new BatchFailures(afterBatchItemFailure)
    this.#waitsForLetters = waitsForLetters
    this.#inside = inside
    this.#group = group
    this.#keyOf = keyOf
    group.listener = this
    this.#isPoll = inside.parts.action === 'poll'
    this.waiting(0)
  }

  get mayHaveLanes(): boolean {
    return this.#group.mayHaveLanes
  }

  questions(jobs: readonly PolicyJob[]): readonly PolicyQuestion[] {
    if (!this.#group.mayHaveLanes && !this.#keys.hasUndone) return []
    const keys = new Set(jobs.flatMap((job) => keyOf(job) ?? []))
    const most = keys.size + MORE_ASKED
    // what others did meanwhile is heard of beside it
    for (const key of keys.size > 0 ? this.#keys.undone : []) {
      if (keys.size === most) break
      keys.add(key)
    }
    const [first] = jobs
    if (!first || keys.size === 0) return []
    const asked = [...keys].map((key) => ({ key, lane: key.lane, undone: key.undone }))
    this.#asked.set(first, asked)
    return [this.#group.laneQuestion(this.#inside.parts.slot.consumerName, asked)]
  }

  admit(jobs: readonly PolicyJob[], [reply]: readonly PolicyReply[]): readonly (Decision | undefined)[] {
    const [first] = jobs
    const asked = (first && this.#asked.get(first)) ?? []
    if (first) this.#asked.delete(first)
    if (reply instanceof Error) throw reply
    if (asked.length === 0 && !this.#keys.hasUndone && !this.#hasUnreadable) return []
    const there = this.#lanesThere(asked, reply)
    return jobs.map((job) => {
      const { error, key } = inOrder(job as Job) ?? {}
      if (error) return { action: 'deadLetter', reason: 'malformed', error }
      if (!key || !(there.has(key.text) || key.hasUndone)) return undefined
      // it would come again, and go back again
      if (isOfLane(job as Job)) this.#takesFirstsOnly = true
      return WAIT_IN_LANE
    })
  }

  /** Which of the keys that were asked about have a lane. */
  #lanesThere(asked: readonly KeyAsked[], reply: PolicyReply | undefined): ReadonlySet<string> {
    const there = new Set<string>()
    if (!Array.isArray(reply)) return there
    for (const [n, { key, undone }] of asked.entries()) {
      if (reply[n] === 1) there.add(key.text)
      // the outcomes of these are stored, and what follows them has no lane
      else for (const id of undone) this.#keys.forgetUndone(key, id)
    }
    if (reply.at(-1) === 0 && !this.#keys.hasUndone) this.#group.mayHaveLanes = false
    return there
  }

  holds(job: PolicyJob): boolean {
    const key = keyOf(job)
    const first = key?.jobs[0]
    if (!key || !first) return false
    if (key.isUndone(job.entryId)) {
      this.#decideOnce(job)
      return true
    }
    if (first === job) return false
    if (isStoredFirst(first.outcome?.kind)) this.#store(key, first)
    const before = key.jobs[key.gathered - 1]
    return !before || key.jobs[key.gathered] !== job || !this.#gathered.mayJoin(job as Job, before)
  }

  /** Decided before it was in the pool, which did not know it then: it waits in its lane. */
  #decideOnce({ entryId }: PolicyJob): void {
    queueMicrotask(() => this.#inside.policies.decide(entryId, { ...WAIT_IN_LANE, policy: ORDER_POLICY }))
  }

  /** What waits for that starts once it is stored. */
  #store(key: KeyInHand, first: Job): void {
    if (key.storing === first) return
    key.storing = first
    // not while the pool asks: what is decided then has to find what waits
    queueMicrotask(() => first.run.settler.settleMeanwhile())
  }

  started(job: PolicyJob): void {
    const place = inOrder(job as Job)
    if (place) place.isStarted = true
    if (!this.#gathered.add(job as Job)) return
    const key = keyOf(job)
    if (key) key.gathered++
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
    if (!this.#gathered.remove(job as Job)) return
    const key = keyOf(job)
    if (key) key.gathered--
  }

  ended(job: PolicyJob): ReadonlyMap<string, Decision> | undefined {
    const key = keyOf(job)
    const { outcome, isTaken } = job as Job
    const kind = outcome?.kind ?? kindOf(this.#decided.get(job))
    this.#ungather(job)
    // the next of its lane is due once this is settled
    if (!key && isTaken && kind !== undefined && kind !== 'retry' && !this.#waitsAfter(kind)) this.isDue = true
    if (!key) return undefined
    // whether it is done is known once it is stored
    if (isStoredFirst(kind)) {
      this.#toBeStored.set(job.entryId, job as Job)
      return undefined
    }
    this.#leave(job, key)
    if (kind !== undefined && this.#isDone(kind)) return undefined
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
  #isEarly(entry: EntryInHand): boolean {
    return inOrder(entry)?.undoneOf?.hasOpenBefore(entry as Job) === true
  }

  conditionsWith(others: PolledConditions | undefined): PolledConditions {
    return {
      see: (conditions) => others?.see(conditions),
      over: () => others?.over() ?? [],
      dueAt: () => (this.isDue ? Number.NEGATIVE_INFINITY : (others?.dueAt() ?? Infinity)),
    }
  }

  stored(entryId: string, isStored: boolean): void {
    const job = this.#toBeStored.get(entryId)
    const key = job && keyOf(job)
    if (!key || !isStoredFirst(job.outcome?.kind)) return
    this.#toBeStored.delete(entryId)
    this.#leave(job, key)
    if (!isStored) {
      const behind = this.#undone(job, key)
      // the first that is decided about has all others decided with it, so that one request settles them
      key.forgetTold()
      for (const [id, decision] of behind) this.#inside.policies.decide(id, { ...decision, policy: ORDER_POLICY })
    }
    this.#inside.policies.resume()
  }

  #undone(job: PolicyJob, key: KeyInHand): Map<string, Decision> {
    // what goes before it runs on: its outcome is settled with theirs
    const behind = key.behind(job as Job)
    for (const one of [job as Job, ...behind]) {
      this.#keys.leaveUndone(key, one.entryId)
      inOrder(one)?.staysUndone(key)
    }
    return new Map(behind.map((one) => [one.id, WAIT_IN_LANE]))
  }

  #leave(job: PolicyJob, key: KeyInHand): void {
    inOrder(job as Job)?.isOver()
    key.remove(job as Job)
  }

  /** Takes note of what was read, also of what has its outcome without a call. */
  register(given: readonly DecidableJob[]): void {
    const jobs = given as readonly Job[]
    const [{ run } = {}] = jobs
    if (run && !run.settler.waits) run.settler.waits = (entry) => this.#isEarly(entry)
    for (const job of jobs) {
      if (job.inOrder) continue
      // also of what was taken: a key that cannot be read makes it a dead letter
      const place = this.#placeOf(job)
      job.inOrder = place
      // first members are alone
      if ((job.isTaken && !isOfLane(job)) || place.keyText === undefined) continue
      this.#register(job, place, this.#keys.of(place.keyText))
    }
  }

  #register(job: Job, place: JobInOrder, key: KeyInHand): void {
    if (key.hasUndone) this.#keys.forgetUndone(key, job.id)
    if (!job.outcome) {
      key.add(job, hasStarted)
      place.key = key
    } else if (!this.#isDone(job.outcome.kind)) {
      this.#keys.leaveUndone(key, job.id)
      place.undoneOf = key
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

  #placeOf({ prepared, delivery }: Job): JobInOrder {
    const { consumer } = this.#inside.parts
    if (!prepared?.decoded) return new JobInOrder(orderingKeyOfEntry(consumer, this.#keyOf, delivery), undefined)
    try {
      return new JobInOrder(orderingKeyOf(this.#keyOf, prepared.decoded), undefined)
    } catch (error) {
      this.#hasUnreadable = true
      return new JobInOrder(undefined, error instanceof Error ? error : new TypeError(String(error)))
    }
  }
}

function hasStarted(job: Job): boolean {
  return inOrder(job)?.isStarted === true
}

function keyOf(job: PolicyJob): KeyInHand | undefined {
  return inOrder(job as Job)?.key
}

/** Members of whole lanes that one take brings beside their first ones, at most. */
const MOST_OF_LANES = 100

/** Keys that a question asks about beside those of its jobs. */
const MORE_ASKED = 20
