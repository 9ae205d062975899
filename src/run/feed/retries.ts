import type { Claimed, Claims, StartBounds } from '../../group/group.ts'
import { isDone } from '../in-hand.ts'
import { Job } from '../job.ts'
import { Pool } from '../pool.ts'
import type { Run } from '../run.ts'
import type { IsolationGate } from './isolation-gate.ts'
import { StartPace } from './start-pace.ts'
import { suspectsAmong } from './suspects.ts'
import { WaitingEntry } from './waiting-entry.ts'

/** How one kind of claimed entries is retried. */
interface Turn {
  readonly atOnce: number
  /** Lets more be started than run. Left out: no more than there is room for. */
  readonly pace?: StartPace
  readonly mayGoOn: () => boolean
}

/**
 * Feeds a pool with claimed entries, a page at a time. They wait, are started, and run. Each request settles what is done and starts as many as
 * there is room for, so that one slow handler holds up none that wait.
 */
export class Retries {
  readonly #run: Run
  readonly #claims: Claims
  readonly #gate: IsolationGate
  readonly #pool: Pool
  readonly #pace: StartPace
  /** Milliseconds for which last deliveries may still run alone. Slow ones would keep all others waiting for the whole run. */
  #aloneMs: number
  /** Of the page: what waits for its start, what was started, and when it was claimed. */
  readonly #waiting = new Set<WaitingEntry>()
  #started: Job[] = []
  #claimedAt = 0

  /** @param gate Shared by all runs of the invocation. */
  constructor(run: Run, claims: Claims, gate: IsolationGate) {
    const { concurrency, handlerTimeoutMs } = run.parts.consumer.settings
    this.#run = run
    this.#claims = claims
    this.#gate = gate
    this.#pool = new Pool(run.time.clock, concurrency, false)
    this.#pace = new StartPace(concurrency)
    this.#aloneMs = handlerTimeoutMs
  }

  /** How many of the last page were given back as they were. */
  left = 0
  /** How many entries are worth claiming at once. */
  get room(): number {
    const { concurrency } = this.#run.parts.consumer.settings
    const room = Math.max(concurrency * this.#run.time.roundsLeft(), this.#pace.entries)
    return this.#run.policies ? this.#run.policies.limit(room) : room
  }

  /**
   * Retries the entries of a page as far as there is time, those that killed no process first. Afterwards all of them have their outcomes.
   *
   * @returns The first entry that had no turn.
   * @throws {RedisConnectionError} No reply came. What ran meanwhile has ended.
   */
  async retry(claimed: readonly Claimed[]): Promise<string | undefined> {
    const { time, settler, report, parts } = this.#run
    report.claimed(claimed)
    this.#claimedAt = time.clock.monotonic()
    this.#started = []
    const page = claimed.map((entry) => new WaitingEntry(entry))
    settler.take(page)
    const { usedUp, ...waiting } = suspectsAmong(page, parts.consumer.settings.maxDeliveries)
    for (const entry of usedUp) entry.setAside(time.clock.now())
    for (const entry of Object.values(waiting).flat()) this.#waiting.add(entry)
    try {
      await this.#inOrder(waiting)
    } finally {
      this.#pool.fill()
      await this.#pool.until(() => this.#pool.isIdle)
      for (const entry of this.#waiting) entry.giveBack(this.#heldMs)
      this.left = page.filter(({ outcome }) => outcome?.kind === 'release').length
    }
    const left = new Set([...this.#waiting, ...this.#started.filter(({ hadNoTurn }) => hadNoTurn)].map(({ id }) => id))
    this.#waiting.clear()
    return claimed.find(({ id }) => left.has(id))?.id
  }

  // a round is kept for each kind of suspects, or slow failing entries before them could take all the time of every run
  async #inOrder(page: Omit<ReturnType<typeof suspectsAmong<WaitingEntry>>, 'usedUp'>): Promise<void> {
    const { clock } = this.#run.time
    // in its turn, what must be alone goes before what others have for this run
    const isFirst = this.#gate.isAloneFirst
    const alone = isFirst ? await this.#alone(page.alone, 1, () => true) : page.alone
    if (isFirst && alone.length > 0) return
    const kinds = [page.grouped, alone].filter(({ length }) => length > 0).length
    await this.#together(page.trusted, 1 + kinds, this.#pace)
    const startedAt = clock.monotonic()
    const slow = await this.#alone(page.last, 1 + kinds, () => clock.monotonic() - startedAt < this.#aloneMs)
    this.#aloneMs -= clock.monotonic() - startedAt
    await this.#together(slow, 1 + kinds)
    await this.#together(page.grouped, alone.length > 0 ? 2 : 1)
    await this.#alone(alone, 1, () => true)
  }

  /** @returns Those that still wait. */
  async #alone(
    entries: readonly WaitingEntry[],
    rounds: number,
    mayBeAlone: () => boolean,
  ): Promise<readonly WaitingEntry[]> {
    const mayGoOn = () => this.#run.time.roundsLeft() >= rounds
    for (const [n, entry] of entries.entries()) {
      if (!mayGoOn() || !mayBeAlone()) return entries.slice(n)
      await this.#gate.alone(() => this.#turn([entry], { atOnce: 1, mayGoOn }).then(() => {}))
    }
    return []
  }

  async #together(entries: readonly WaitingEntry[], rounds: number, pace?: StartPace): Promise<void> {
    const { time, parts } = this.#run
    const atOnce = parts.consumer.settings.concurrency
    let left = entries
    while (left.length > 0 && time.roundsLeft() >= rounds) {
      await this.#gate.together(async () => {
        let isFirst = true
        const mayGoOn = () => {
          const isTurn = isFirst || !this.#gate.isAwaited
          isFirst = false
          return isTurn && time.roundsLeft() >= rounds
        }
        left = await this.#turn(left, { atOnce, mayGoOn, ...(pace && { pace }) })
      })
    }
  }

  /** Runs entries for as long as they may go on; what runs then is waited for. @returns Those that still wait. */
  async #turn(entries: readonly WaitingEntry[], turn: Turn): Promise<WaitingEntry[]> {
    const pool = this.#pool
    pool.atOnce = turn.atOnce
    const queue = [...entries]
    try {
      await this.#feed(queue, turn)
    } finally {
      pool.fill()
      await pool.until(() => pool.isIdle)
    }
    // by itself, the next start settles what is done before it starts a suspect; others do not wait for that
    if (this.#gate.isShared) await this.#run.settler.settle()
    return queue
  }

  async #feed(queue: WaitingEntry[], { atOnce, pace, mayGoOn }: Turn): Promise<void> {
    const { settler, time, parts } = this.#run
    const pool = this.#pool
    let last: { readonly requestMs: number; readonly repliedAt: number } | undefined
    for (;;) {
      pool.fill()
      const isFull = pool.queued > 0 || pool.open >= atOnce
      const hasBytes = pool.isIdle || settler.bytes < parts.consumer.settings.maxBytes
      const mayStart = !isFull && hasBytes && queue.length > 0 && mayGoOn()
      if (last && (mayStart || pool.isIdle))
        pace?.note(last.requestMs, pool.isIdle ? time.clock.monotonic() - last.repliedAt : undefined)
      if (mayStart) {
        const sentAt = time.clock.monotonic()
        const waiting = await this.#start(queue.splice(0, (pace?.entries ?? atOnce) - pool.open))
        queue.unshift(...waiting)
        const repliedAt = time.clock.monotonic()
        last = { requestMs: repliedAt - sentAt, repliedAt }
      } else if (pool.isIdle) return
      else if (settler.hasDone && !isFull) await settler.settle()
      else await pool.ended()
    }
  }

  /** How long the page is ours, in milliseconds. */
  get #heldMs(): number {
    return this.#run.time.clock.monotonic() - this.#claimedAt
  }

  /** What the server leaves alone: entries whose type says that their handler takes no work, where the codec says which field has the type. */
  get #unavailable(): StartBounds['unless'] {
    const { policies, parts } = this.#run
    const { unavailable } = this.#run.alwaysOn
    const { typeField: field } = parts.consumer.codec
    if ((unavailable.size === 0 && !policies?.guards.length) || field === undefined) return undefined
    return { field, values: [...unavailable].map(({ event }) => event.type) }
  }

  /** @returns Those that there was no room for: they wait on. */
  async #start(next: readonly WaitingEntry[]): Promise<readonly WaitingEntry[]> {
    const { settler, time, report, policies, parts } = this.#run
    for (const entry of next) this.#waiting.delete(entry)
    settler.drop(next)
    const done = settler.takeDone()
    const maxBytes = parts.consumer.settings.maxBytes - settler.bytes
    const bounds = { maxBytes, unless: this.#unavailable, guards: policies?.guards }
    const call = this.#claims.settleAndStart(parts.slot, done, next, bounds)
    const { started, leftAlone, noRoom } = await settler.by(done, call).catch((error: unknown) => {
      for (const entry of next) entry.giveBack(this.#heldMs, true)
      settler.take(next)
      throw error
    })
    const leftIds = new Set(leftAlone.map(({ id }) => id))
    const left = next.filter(({ id }) => leftIds.has(id))
    for (const entry of left) entry.giveBack(this.#heldMs)
    report.throttled(left.length)
    const waitingIds = new Set(noRoom.map(({ id }) => id))
    const waiting = next.filter(({ id }) => waitingIds.has(id))
    for (const entry of waiting) this.#waiting.add(entry)
    settler.take([...left, ...waiting])
    const now = time.clock.now()
    const jobs = started.map((delivery) => new Job(this.#run, delivery, now, this.#claimedAt))
    this.#started.push(...jobs)
    settler.take(jobs)
    await policies?.admit(jobs)
    this.#pool.add(policies ? jobs.filter((job) => !isDone(job)) : jobs)
    return waiting
  }
}
