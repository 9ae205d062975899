import { isPlainAck } from '../../core/outcome.ts'
import type { Delivery } from '../../group/delivery.ts'
import type { EntryWaiter, ReadRequest, ReadResult, WaitRequest, WaitResult } from '../../group/group.ts'
import { hasOutcome } from '../entry-in-hand.ts'
import { Job } from '../job.ts'
import type { PoliciesOfRun } from '../policy-engine.ts'
import type { Run } from '../run.ts'
import type { BacklogScaler } from './backlog-scaler.ts'

/** Reading ahead pays while handlers take no longer than so many requests; slower ones would keep from other pollers what waits for them. */
const AHEAD_REQUESTS = 10

/** What a wait brought. */
interface Waited {
  readonly jobs: readonly Job[]
  /** Milliseconds until the next of what is set aside is due. */
  readonly dueInMs: number | undefined
}

/** Reads a stream on, settling with each read what is done by then. What it brings is in the run's hands at once. */
export class StreamReader {
  /** The last read brought as many as it asked for: there may be more. */
  isFull = false
  /** The last read brought nothing. */
  isEmpty = false
  /** The last read brought nothing, since more is pending, or set aside, than the consumer allows. */
  isAtLimit = false
  /** Entries that a read brings at most. Default: a batch. */
  atMost = Infinity
  readonly #run: Run
  readonly #scaler: BacklogScaler
  /** An event of a batch route is handed over with those of its own read, and a death would use up the only delivery of two batches. */
  readonly #neverAhead: boolean
  /** Where order is kept, what is read joins what is undone by the time that it is taken, and not what was when it came. */
  readonly #isOrdered: boolean
  #isFirst = true
  /** What is pending grows only by failures, so it is inspected by the first read and by those that follow them. */
  #mayBeAtLimit = true
  /** Something failed of what was settled last, so that more may: reading ahead could go further above `maxPending`. */
  #hasFailed = false
  /** The read that is under way while handlers run. */
  #ahead: Promise<readonly Job[]> | undefined
  /** Bytes of the largest entry so far. */
  #largest = 0
  /** Milliseconds of the shortest read that was waited for. */
  #requestMs = Infinity

  constructor(run: Run, scaler: BacklogScaler) {
    const { routes, routeBounds, settings, policies } = run.parts.consumer
    this.#run = run
    this.#scaler = scaler
    const hasBatches = [...routes.values()].some(({ batching }) => batching)
    this.#isOrdered = policies.some(({ policy }) => policy.kind === 'order')
    this.#neverAhead = settings.mode !== 'drain' || routeBounds.fewestDeliveries === 1 || hasBatches
  }

  /** A read ahead was sent and what it brings has yet to be taken. */
  get isAhead(): boolean {
    return this.#ahead !== undefined
  }

  /** More may be pending, or set aside, than the consumer allows: the next read has to look. */
  get mustLook(): boolean {
    this.#mayBeAtLimit ||= this.#run.settler.tookBack()
    return this.#mayBeAtLimit
  }

  /** Whether policies let nothing be read now. */
  get isVetoed(): boolean {
    return this.#run.policies?.limit(1) === 0
  }

  /** Whether another entry may be in hand beside what is. */
  get hasRoom(): boolean {
    return this.#room >= 1
  }

  /** Sends what policies ask with each read, without a read. @throws {RedisConnectionError} No reply came. */
  async ask(): Promise<void> {
    const ride = this.#run.policies?.ride()
    if (ride && ride.riders.length > 0) ride.answered(await this.#run.parts.group.ask(ride.riders))
  }

  /** How many entries may be in hand beside what is, each as large as the largest so far. */
  get #room(): number {
    return this.#roomWithin(this.#most)
  }

  /** How many entries a read may bring, whatever is in hand. */
  get #most(): number {
    const { shared, consumer } = this.#run.parts
    const { batchSize } = consumer.settings
    const most = Math.min(shared ? shared.shareOf(batchSize) : batchSize, this.atMost)
    return this.#run.policies ? this.#run.policies.limit(most) : most
  }

  #roomWithin(most: number): number {
    const { settler, parts } = this.#run
    const { maxBytes } = parts.consumer.settings
    return this.#largest === 0 ? most : Math.min(most, (maxBytes - settler.bytes) / this.#largest)
  }

  /** @param handlersMs What the handlers of the last batch took. */
  mayReadAhead(handlersMs: number): boolean {
    const { time, settler, alwaysOn, parts } = this.#run
    if (this.#neverAhead || this.#mayBeAtLimit || this.#hasFailed || alwaysOn.limit() === 0 || this.#ahead) return false
    if (handlersMs > this.#requestMs * AHEAD_REQUESTS || !settler.hasOnlyAcks) return false
    if (this.#room < 1) return false
    return time.mayStart(time.clock.monotonic() + handlersMs + parts.consumer.routeBounds.longestTimeoutMs)
  }

  /** Sends the next read, whose entries wait for those in hand. */
  readAhead(): void {
    this.#ahead = this.#read(true)
    this.#ahead.catch(() => this.#run.time.stop()) // thrown where it is taken
  }

  /** What was read ahead, or else what a read brings now; where order is kept, `admit` comes before all else. @throws {RedisConnectionError} No reply came. */
  async next(): Promise<readonly Job[]> {
    if (this.#ahead) return this.takeAhead()
    const { clock } = this.#run.time
    const sentAt = clock.monotonic()
    const jobs = await this.#read(false)
    this.#requestMs = Math.min(this.#requestMs, clock.monotonic() - sentAt)
    return jobs
  }

  /** What was read ahead, if anything was; where order is kept, `admit` comes before all else. @throws {RedisConnectionError} No reply came. */
  async takeAhead(): Promise<readonly Job[]> {
    try {
      return (await this.#ahead) ?? []
    } finally {
      this.#ahead = undefined
    }
  }

  /** Has order take note of what was read, and decide: as it is taken, not as it came. @returns What has no outcome. @throws {RedisConnectionError} No reply came. */
  admit(jobs: readonly Job[]): readonly Job[] | Promise<readonly Job[]> {
    return this.#isOrdered ? this.#admitted(jobs) : jobs
  }

  /**
   * Waits for new entries, and settles nothing.
   *
   * @returns What came, and what else there is; without it if the group is gone, which the next read makes again.
   * @throws {RedisConnectionError} No reply came.
   */
  async wait(waiter: EntryWaiter, wanted: Omit<WaitRequest, 'count' | 'riders'>): Promise<Waited> {
    const { settler, policies, parts } = this.#run
    const count = Math.max(1, Math.floor(this.#room))
    const ride = policies?.ride()
    const request = { ...wanted, count, ...(ride && { riders: ride.riders }) }
    let read: WaitResult
    try {
      read = await waiter.read(parts.slot, request)
      settler.heard(read)
    } catch (error) {
      settler.doubtRead()
      throw error
    }
    ride?.answered(read.answers ?? [])
    if (read.isGroupMissing) this.#mayBeAtLimit = true
    const jobs = this.#admitted(this.#took(read, count))
    // few steps between the answer and the handlers
    return { jobs: jobs instanceof Promise ? await jobs : jobs, dueInMs: read.dueInMs }
  }

  async #read(isAhead: boolean): Promise<readonly Job[]> {
    const { settler, policies, parts } = this.#run
    const { group, slot, consumer } = parts
    const { maxPending, maxParked } = consumer.settings
    const most = this.#most
    if (most === 0) {
      this.isFull = false
      this.isEmpty = true
      return []
    }
    const settlements = settler.takeDone()
    const count = Math.max(1, Math.floor(this.#roomWithin(most)))
    const ride = policies?.ride()
    this.#hasFailed = settlements.some(({ outcome }) => !isPlainAck(outcome))
    this.#mayBeAtLimit ||= this.#hasFailed
    const request = {
      count,
      maxPending: this.#mayBeAtLimit ? maxPending : undefined,
      maxParked,
      ifEmpty: this.#ifEmpty,
      ...(ride && { riders: ride.riders }),
    }
    this.#isFirst = false
    const read = await settler
      .by(settlements, group.settleAndRead(slot, settlements, request))
      .catch((error: unknown) => {
        settler.doubtRead()
        throw error
      })
    this.#mayBeAtLimit = read.pendingLimitReached || read.parkedLimitReached
    this.#run.hasGivenSlot = read.hasEnded
    ride?.answered(read.answers ?? [])
    const jobs = this.#took(read, count, isAhead)
    return this.#isOrdered ? jobs : this.#admitted(jobs)
  }

  /** What a read brought, in hand. */
  #took(read: ReadResult, count: number, isAhead = false): readonly Job[] {
    const { report, pauses, delays, settler } = this.#run
    const { entries, failures, pendingLimitReached, parkedLimitReached, groupRecreated } = read
    if (read.isInDoubt) settler.doubtReadAtEnd()
    const isAtLimit = pendingLimitReached || parkedLimitReached
    this.isAtLimit = isAtLimit
    pauses.see(read.paused)
    // a read that inspects the limit does not say
    if (read.delayed) delays?.see(read.delayed)
    this.isFull = entries.length === count
    this.isEmpty = entries.length === 0
    // what was read ahead says nothing of what came while its handlers ran
    report.looked({
      pendingLimitReached,
      parkedLimitReached,
      groupRecreated,
      drained: entries.length === 0 && failures.length === 0 && !isAtLimit && !isAhead && !pauses.isAll,
    })
    return entries.length === 0 ? [] : this.#received(entries)
  }

  /** What becomes of the slot if a read brings nothing: policies may have something to send at the end. */
  get #ifEmpty(): NonNullable<ReadRequest['ifEmpty']> {
    const { policies, parts } = this.#run
    if (!this.#isFirst || policies || parts.lingerMs > 0 || parts.shared) return 'keep'
    return parts.consumer.settings.mode === 'drain' ? 'giveWithFlag' : 'give'
  }

  /** Those that policies have given no outcome; a promise where they are asked. */
  #admitted(jobs: readonly Job[]): readonly Job[] | Promise<readonly Job[]> {
    const { policies, pauses } = this.#run
    if (!policies || jobs.length === 0) return jobs
    // a policy is asked about none of what came in the moment before; order has to know of it
    return pauses.isAll && !this.#isOrdered ? jobs : admitted(policies, jobs)
  }

  #received(entries: readonly Delivery[]): readonly Job[] {
    const { settler, report, time } = this.#run
    report.read(entries)
    const now = time.clock.now()
    const jobs = entries.map((entry) => new Job(this.#run, entry, now))
    settler.take(jobs)
    for (const { bytes } of jobs) this.#largest = Math.max(this.#largest, bytes)
    if (this.isFull) this.#scaler.look()
    return jobs
  }
}

async function admitted(policies: PoliciesOfRun, jobs: readonly Job[]): Promise<readonly Job[]> {
  await policies.admit(jobs)
  return jobs.filter((job) => !hasOutcome(job))
}
