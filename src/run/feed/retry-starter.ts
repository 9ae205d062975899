import { PARKED_CONSUMER } from '../../core/keys.ts'
import { isPlainAck } from '../../core/outcome.ts'
import type { ClaimedEntry, Delivery } from '../../group/delivery.ts'
import type { StartClaimedBounds, TakeDueRequest, TakeDueResult } from '../../group/group.ts'
import type { RetryOperations } from '../../group/redis/redis-retries.ts'
import type { CallPool } from '../call-pool.ts'
import { hasOutcome } from '../entry-in-hand.ts'
import { Job } from '../job.ts'
import type { Run } from '../run.ts'
import { deliveryLimitOf } from './own-deliveries.ts'
import type { CrashSuspects } from './suspects.ts'
import { findCrashSuspects } from './suspects.ts'
import { WaitingClaimedEntry } from './waiting-claimed-entry.ts'

/** Entries by how they run. */
export type Kinds = Omit<CrashSuspects<WaitingClaimedEntry>, 'usedUp'>

/** What is taken of what is set aside. */
type TakeRequest = Pick<TakeDueRequest, 'room' | 'till' | 'conditions'>

/** What was taken: what waits for its start, and what runs next. */
type Taken = Omit<TakeDueResult, 'handed' | 'started'> & {
  readonly handed: readonly WaitingClaimedEntry[]
  readonly jobs: readonly Job[]
  /** Something failed, or was released, of what was settled with it. */
  readonly hasFailed: boolean
}

/**
 * Starts what was set aside and comes back, and claimed entries: each request settles what is done, and the pool runs what it started. What waits for its start is held until it
 * is started, or given back.
 */
export class RetryStarter {
  readonly #run: Run
  readonly #claims: RetryOperations
  readonly #pool: CallPool
  readonly #waiting = new Set<WaitingClaimedEntry>()
  /** Of the claimed. */
  #started: Job[] = []

  constructor(run: Run, claims: RetryOperations, pool: CallPool) {
    this.#run = run
    this.#claims = claims
    this.#pool = pool
  }

  /** Claimed entries, to be started. */
  wait(claimed: readonly ClaimedEntry[]): readonly WaitingClaimedEntry[] {
    const entries = claimed.map((entry) => new WaitingClaimedEntry(entry, this.#run.parts.slot))
    this.#run.settler.take(entries)
    for (const entry of entries) this.#waiting.add(entry)
    return entries
  }

  /** Those that have no delivery left become dead letters. @throws {RedisConnectionError} No reply came: all of them go back. */
  async byKind(entries: readonly WaitingClaimedEntry[]): Promise<Kinds> {
    const { time } = this.#run
    const limitOf = await deliveryLimitOf(this.#run, this.#claims, entries).catch((error: unknown) => {
      for (const entry of entries) {
        entry.giveBack()
        this.#waiting.delete(entry)
      }
      throw error
    })
    const { usedUp, ...kinds } = findCrashSuspects(entries, limitOf)
    for (const entry of usedUp) {
      entry.setAside(time.clock.now())
      this.#waiting.delete(entry)
    }
    return kinds
  }

  /** What waits still goes back. @returns Ids of what had no turn of what was claimed since that was asked last. */
  giveBack(): ReadonlySet<string> {
    for (const entry of this.#waiting) entry.giveBack()
    const left = [...this.#waiting, ...this.#started.filter(({ hadNoTurn }) => hadNoTurn)]
    this.#waiting.clear()
    this.#started = []
    return new Set(left.map(({ id }) => id))
  }

  /** Nobody asks what of it had no turn. */
  forgetStarted(): void {
    this.#started = []
  }

  /**
   * What the server leaves alone: entries whose type says that their handler takes no work, or is paused, where the codec says which field has the type.
   */
  get #bounds(): Pick<StartClaimedBounds, 'maxBytes' | 'unless' | 'guards'> {
    const { settler, policies, parts } = this.#run
    const { unavailable } = this.#run.alwaysOn
    const { typeField: field } = parts.consumer.codec
    const unless = field !== undefined ? { field, values: [...unavailable].map(({ event }) => event.type) } : undefined
    return { maxBytes: parts.consumer.settings.maxBytes - settler.bytes, unless, guards: policies?.guards }
  }

  /** Takes what comes back, but for what is at its last delivery: that waits. The rest has to run. @param isAhead Others are in hand by then, or under way. @throws {RedisConnectionError} No reply came. */
  async take(wanted: TakeRequest, isAhead = false): Promise<Taken> {
    const { settler, report, pauses, parts, policies } = this.#run
    const done = settler.takeDone()
    // the server does not know of which type an entry is: what may be at its last delivery is handed over
    const { fewestDeliveries: maxDeliveries } = parts.consumer.routeBounds
    const { maxBytes = 0, ...bounds } = this.#bounds
    // two may be under way
    const share = isAhead ? Math.ceil(maxBytes / 3) : maxBytes
    const request = { ...bounds, maxBytes: share, ...wanted, maxDeliveries, scripts: policies?.takeScripts }
    const call = this.#claims.settleAndTake(parts.slot, done, request)
    const taken = await settler.by(done, call).catch((error: unknown) => {
      settler.doubtTake((done) => this.#claims.settleAndGiveBack(parts.slot, done))
      throw error
    })
    report.lost(taken.lost)
    pauses.see(taken.paused)
    const { started, ...rest } = taken
    const handed = this.wait(taken.handed)
    if (started.length + handed.length > 0) {
      const given = started.map(({ id, deliveryCount, idleMs }) => ({
        id,
        deliveryCount: deliveryCount - 1,
        from: { owner: PARKED_CONSUMER, idleMs },
      }))
      report.claimed([...given, ...handed])
    }
    const hasFailed = done.some(({ outcome }) => !isPlainAck(outcome))
    return { ...rest, handed, jobs: this.#inHand(started), hasFailed }
  }

  /** @returns Those that there was no room for: they wait on. @throws {RedisConnectionError} No reply came. */
  async start(next: readonly WaitingClaimedEntry[]): Promise<readonly WaitingClaimedEntry[]> {
    const { settler, report, pauses, parts } = this.#run
    for (const entry of next) this.#waiting.delete(entry)
    settler.drop(next)
    const done = settler.takeDone()
    const call = this.#claims.settleAndStart(parts.slot, done, next, this.#bounds)
    const {
      started,
      leftAlone,
      noRoom,
      leftPaused = [],
      paused,
    } = await settler.by(done, call).catch((error: unknown) => {
      for (const entry of next) entry.giveBack(true)
      settler.take(next)
      throw error
    })
    pauses.see(paused)
    const leftIds = new Set([...leftAlone, ...leftPaused].map(({ id }) => id))
    const left = next.filter(({ id }) => leftIds.has(id))
    for (const entry of left) entry.giveBack()
    report.throttled(leftAlone.length)
    const waitingIds = new Set(noRoom.map(({ id }) => id))
    const waiting = next.filter(({ id }) => waitingIds.has(id))
    for (const entry of waiting) this.#waiting.add(entry)
    settler.take([...left, ...waiting])
    const jobs = this.#inHand(started)
    this.#started.push(...jobs)
    await this.run(jobs)
    return waiting
  }

  /** Has the pool run what was taken. @returns How many are called, since a policy may let none be. */
  async run(jobs: readonly Job[]): Promise<number> {
    const { policies } = this.#run
    await policies?.admit(jobs)
    const called = policies ? jobs.filter((job) => !hasOutcome(job)) : jobs
    this.#pool.add(called)
    return called.length
  }

  #inHand(started: readonly Delivery[]): readonly Job[] {
    const now = this.#run.time.clock.now()
    const jobs = started.map((delivery) => new Job(this.#run, delivery, now))
    this.#run.settler.take(jobs)
    return jobs
  }
}
