import { RedisConnectionError } from '../../errors.ts'
import type { EntryWaiter } from '../../group/group.ts'
import { openEntryWaiter } from '../../group/redis/entry-waiter.ts'
import { CallPool } from '../call-pool.ts'
import type { WorkEnd } from '../consumer-run.ts'
import type { Job } from '../job.ts'
import type { Run } from '../run.ts'
import { BacklogScaler } from './backlog-scaler.ts'
import { DueRetries } from './due-retries.ts'
import { listenAgainInMs } from './listen-again.ts'
import { LostReads } from './lost-reads.ts'
import { PublishersFlag } from './publishers-flag.ts'
import { ReadPace } from './read-pace.ts'
import { StreamReader } from './stream-reader.ts'

/** How soon the stream is read again where a request cannot wait; each empty read doubles it. */
const READ_AGAIN_MS = { first: 50, last: 1_000 }

/** How soon a request is sent again that was not answered; each further one doubles it. */
const TROUBLE_MS = { first: 50, last: 1_000 }

/** Who waits for room, or for the end of time, looks so often whether it is there; a listener without room asks so often whether delayed events are due. */
const BEAT_MS = 1_000

/**
 * Listens until time is up, or for `lingerMs` after the last entry: feeds a pool with new entries when they come, and with what was set aside once it is due. Reading and settling go on side by side, on
 * connections of their own; an answer that is lost costs the time until the server answers again, not the run.
 *
 * @throws {RedisConnectionError} No reply came up to the end. What ran has ended, and what could be settled is.
 */
export async function listen(run: Run): Promise<WorkEnd> {
  const listening = new Listening(run)
  try {
    await listening.untilOver()
  } catch (error) {
    run.time.stop()
    await listening.end().catch(() => {})
    throw error
  }
  await listening.end()
  return { isCutOff: listening.reader.isFull && run.isSound, againInMs: listenAgainInMs(run) }
}

class Listening {
  readonly #run: Run
  readonly #pool: CallPool
  readonly reader: StreamReader
  readonly #scaler: BacklogScaler
  readonly #waiter: EntryWaiter
  readonly #retries: DueRetries
  readonly #pace: ReadPace
  readonly #lostReads: LostReads
  #lastEntryAt: number
  readonly #flag = new PublishersFlag()
  #pauseMs = READ_AGAIN_MS.first
  #troubleMs = TROUBLE_MS.first
  #cancelBeat: () => void = () => {}
  #paused = 0
  #isReading = false
  /** It reads again soon, and hears then what is due. */
  #rests = false
  #hasEndedReading = false
  /** The last of the requests that take, start, or hand back what a lost answer brought, which go one after the other: what a take brings would be handed back as well. */
  #lastInTurn: Promise<unknown> = Promise.resolve()

  constructor(run: Run) {
    const { time, parts } = run
    this.#run = run
    this.#pool = new CallPool(time.clock, parts.consumer.settings.concurrency, true, parts.shared)
    this.#scaler = new BacklogScaler(run)
    this.reader = new StreamReader(run, this.#scaler)
    this.#waiter = openEntryWaiter(parts.group)
    this.#retries = new DueRetries(run, this.#pool)
    this.#lastEntryAt = time.clock.monotonic()
    this.#pace = new ReadPace(time.clock, this.reader, parts.consumer.settings.concurrency)
    this.#lostReads = new LostReads(time.clock, run.settler)
  }

  /** Resolves once nothing more is read, and all that was is done. @throws What ended it, once all have ended. */
  async untilOver(): Promise<void> {
    const stopped = (error: unknown) => {
      this.#run.time.stop()
      this.#pool.fill()
      throw error
    }
    const cancel = this.#run.time.onAbort(() => this.#pool.fill())
    this.#beat()
    const reading = this.#readOn().finally(() => {
      this.#hasEndedReading = true
      this.#pool.notify()
    })
    const others = [this.#settleOn(), this.#promoteOn()].map((one) => one.catch(stopped))
    const ends = await Promise.allSettled([reading.catch(stopped), ...others])
    cancel()
    this.#cancelBeat()
    const failed = ends.find(({ status }) => status === 'rejected')
    if (failed) throw (failed as PromiseRejectedResult).reason
  }

  /** Has those who wait for something look every second, and at the end of time. */
  #beat(): void {
    const { clock } = this.#run.time
    this.#cancelBeat = clock.after(Math.max(1, Math.min(BEAT_MS, this.#leftMs + 1)), () => {
      this.#notePauses()
      this.#pool.notify()
      if (this.#goesOn) this.#beat()
    })
  }

  /** What waited for a pause comes back with what is due. */
  #notePauses(): void {
    const { number } = this.#run.pauses
    if (number < this.#paused) this.#retries.note(0)
    this.#paused = number
  }

  /** Waits for what runs, settles it, and lets go of everything. */
  async end(): Promise<void> {
    try {
      await this.#waiter.end()
      this.#pool.fill()
      await this.#pool.until(() => this.#pool.isIdle)
      this.#retries.end()
      await this.#run.settler.finish()
    } finally {
      await this.#scaler.end()
    }
  }

  get #goesOn(): boolean {
    const { time, alwaysOn } = this.#run
    return time.mayStart() && this.#leftMs > 0 && alwaysOn.limit() > 0
  }

  /** Milliseconds for which it goes on. */
  get #leftMs(): number {
    const { time, parts } = this.#run
    const lingers = this.#pool.isIdle ? this.#lastEntryAt + parts.lingerMs - time.clock.monotonic() : Infinity
    return Math.min(time.waitableMs(), lingers)
  }

  async #readOn(): Promise<void> {
    while (this.#goesOn) {
      await this.#pool.until(() => !this.#goesOn || this.#mayRead)
      if (!this.#goesOn) return
      this.#isReading = true
      const isQuiet = await this.#answered(() => this.#read())
      this.#isReading = false
      this.#retries.last.hasRead()
      this.#notePauses()
      this.#pool.notify()
      if (!isQuiet) continue
      this.#rests = !this.reader.isVetoed && !this.reader.isAtLimit
      await this.#sleep(this.#pauseMs)
      this.#rests = false
    }
  }

  get #mayRead(): boolean {
    const { batchSize, concurrency } = this.#run.parts.consumer.settings
    const pool = this.#pool
    // what a policy holds back, or waits for its route, takes no place
    const hasFew = pool.isGathering || pool.open - pool.waiting < Math.max(batchSize, concurrency)
    const hasRoom = pool.isIdle || (pool.hasRoom && hasFew && this.reader.hasRoom)
    return hasRoom && !this.#retries.last.isTurn && !this.#retries.last.isAlone
  }

  /** @returns Whether the next read should not follow at once. */
  async #read(): Promise<boolean> {
    const reader = this.reader
    this.#pace.hasRoom()
    if (this.#lostReads.mayOwe) await this.#inTurn(() => this.#lostReads.handBack())
    if (reader.isVetoed) {
      this.#pauseMs = READ_AGAIN_MS.last
      await reader.ask()
      return true
    }
    // where the next read does not wait, it settles what is done
    const isSettling = reader.mustLook || reader.isFull || this.#retries.last.isWaiting
    let jobs: readonly Job[]
    if (isSettling) jobs = await reader.admit(await reader.next())
    else {
      const request = this.#waitRequest()
      // few steps between the answer and the handlers: no function of its own
      const waited = await reader.wait(this.#waiter, request)
      jobs = waited.jobs
      if (request.asksDue) this.#retries.note(waited.dueInMs)
    }
    if (jobs.length > 0) {
      this.#lastEntryAt = this.#run.time.clock.monotonic()
      this.#pauseMs = READ_AGAIN_MS.first
      this.#pool.add(jobs)
      this.#pace.added()
      return false
    }
    if (reader.isAtLimit) this.#pauseMs = READ_AGAIN_MS.last
    else if (isSettling || this.#waiter.maxWaitMs > 0) return false
    else this.#pauseMs = Math.min(2 * this.#pauseMs, READ_AGAIN_MS.last)
    return true
  }

  #waitRequest() {
    const { clock } = this.#run.time
    // what stood at the run's end would keep the next entry waiting for the schedule
    const holdFlagMs = this.#flag.holdMs(clock.monotonic(), this.#leftMs - 2 * READ_AGAIN_MS.last)
    // what is due by now waits for something else than a read
    const [retryMs, delayMs] = [this.#retries.dueInMs, this.#run.delays?.dueInMs ?? Infinity].map((ms) =>
      ms > 0 ? ms : READ_AGAIN_MS.first,
    ) as [number, number]
    const waitMs = Math.max(1, Math.min(this.#waiter.maxWaitMs, this.#leftMs, retryMs, delayMs))
    const { asksDue } = this.#retries
    return { waitMs, asksDue, holdFlagMs }
  }

  async #settleOn(): Promise<void> {
    const { settler } = this.#run
    const owes = () => settler.hasDone || settler.owesGiveBack
    const isOver = () => this.#hasEndedReading && this.#pool.isIdle && !owes()
    while (!isOver()) {
      await this.#pool.until(() => isOver() || owes() || this.#mayTake || this.#mayStartLast)
      let hasCome = true
      if (settler.owesGiveBack) await this.#answered(() => this.#inTurn(() => settler.giveBack()))
      else if (this.#mayStartLast) await this.#answered(() => this.#startLast())
      else if (this.#mayTake) hasCome = (await this.#answered(() => this.#inTurn(() => this.#retries.take()))) === true
      else if (settler.hasDone) await this.#answered(() => settler.settle())
      if (hasCome) this.#lastEntryAt = this.#run.time.clock.monotonic()
      this.#retries.noteSettled()
    }
  }

  /** Side by side with all else: what runs alone keeps no delayed event waiting. */
  async #promoteOn(): Promise<void> {
    while (!this.#hasEndedReading) {
      await this.#pool.until(() => this.#hasEndedReading || this.#mayPromote)
      if (this.#mayPromote) await this.#answered(() => this.#promote())
    }
  }

  get #mayPromote(): boolean {
    const { delays } = this.#run
    // who has no room does not read, and so does not see what is due
    if (!this.#goesOn || !delays) return false
    return delays.isDue || (!this.#isReading && !this.#rests && delays.isUnseenFor(BEAT_MS))
  }

  /** What is promoted comes by the next read. */
  async #promote(): Promise<void> {
    await this.#run.delays?.promote()
    this.#lastEntryAt = this.#run.time.clock.monotonic()
  }

  get #mayTake(): boolean {
    // while reads do not wait, they do not say what is due
    return this.#goesOn && this.#retries.mayTake(!this.reader.isFull && !this.reader.mustLook)
  }

  get #mayStartLast(): boolean {
    return this.#retries.last.isTurn && this.#pool.isIdle && !this.#isReading && this.#goesOn
  }

  /** Starts a last delivery, with nothing beside it; or several, which are not waited for. */
  async #startLast(): Promise<void> {
    await this.#retries.runLast((start) => this.#inTurn(start))
  }

  #inTurn<T>(ask: () => Promise<T>): Promise<T> {
    const asking = this.#lastInTurn.then(ask)
    this.#lastInTurn = asking.catch(() => {})
    return asking
  }

  /** Makes requests; where one is not answered, the next may be. @returns What they bring; `undefined` if no answer came. */
  async #answered<T>(ask: () => Promise<T>): Promise<T | undefined> {
    try {
      const answer = await ask()
      this.#troubleMs = TROUBLE_MS.first
      return answer
    } catch (error) {
      if (!(error instanceof RedisConnectionError) || !this.#goesOn) throw error
      this.#lostReads.lost()
      await this.#sleep(this.#troubleMs)
      this.#troubleMs = Math.min(2 * this.#troubleMs, TROUBLE_MS.last)
      return undefined
    }
  }

  /** Waits for that long, or until nothing more is read. */
  async #sleep(ms: number): Promise<void> {
    const { time } = this.#run
    let isOver = false
    const end = () => {
      isOver = true
      this.#pool.notify()
    }
    const cancels = [time.clock.after(Math.min(ms, Math.max(0, this.#leftMs)), end), time.onAbort(end)]
    await this.#pool.until(() => isOver)
    for (const cancel of cancels) cancel()
  }
}
