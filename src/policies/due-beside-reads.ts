import type { CallPool } from '../run/call-pool.ts'
import type { DueBesideReads } from '../run/feed/due-beside-reads.ts'
import { DueRetries } from '../run/feed/due-retries.ts'
import type { PoliciesOfRun } from '../run/policy-engine.ts'
import type { Run } from '../run/run.ts'

/** How soon the stream is inspected again at most, and where entries are set aside until their turn. */
const LOOK_AGAIN_MS = { last: 1_000, forTurns: 200 }

/** No sooner than after an empty read is asked again what is due: a policy may say so whenever it is asked. */
const SOONEST_MS = 50

/** A run whose policies set entries aside until their turn waits so long for the next of them. */
const TURN_WAIT_MS = 2_000

/** What is due by the policies of a run that reads until nothing is left; and, where they set entries aside until their turn, what comes back of that. */
export class DueByPolicies implements DueBesideReads {
  readonly #run: Run
  readonly #pool: CallPool
  readonly #policies: PoliciesOfRun
  readonly #retries: DueRetries | undefined
  readonly #mayHave: () => boolean

  /**
   * @param takes Entries are set aside until they have their turn, or a place.
   * @param mayHave Something may be set aside. Default: nobody knows, so that it is asked.
   */
  constructor(run: Run, pool: CallPool, policies: PoliciesOfRun, takes: boolean, mayHave = () => true) {
    this.#run = run
    this.#pool = pool
    this.#policies = policies
    const isToDrain = run.parts.consumer.settings.mode === 'drain'
    this.#retries = takes && isToDrain ? new DueRetries(run, pool) : undefined
    this.#mayHave = mayHave
  }

  /** What takes, where there may be something to take. */
  get #taking(): DueRetries | undefined {
    return this.#mayHave() ? this.#retries : undefined
  }

  get lookAgainMs(): number {
    return this.#retries ? LOOK_AGAIN_MS.forTurns : LOOK_AGAIN_MS.last
  }

  get mayTake(): boolean {
    return this.#taking?.mayTake(true) === true
  }

  async take(): Promise<void> {
    const retries = this.#taking
    if (!retries) return
    retries.last.hasRead()
    retries.noteSettled()
    if (retries.last.isTurn) {
      await this.#pool.until(() => this.#pool.isIdle)
      await retries.runLast((start) => start())
    } else if (retries.mayTake(true)) await retries.take()
  }

  noteSettled(): void {
    this.#retries?.noteSettled()
  }

  async untilDue(isVetoed: boolean): Promise<boolean> {
    const policies = this.#policies
    const retries = isVetoed ? undefined : this.#taking
    // what was taken at its last delivery has only waited for this read
    if (retries?.last.isWaiting && this.#run.time.mayStart()) return true
    const { resume } = policies
    try {
      return await this.#untilDue(retries)
    } finally {
      policies.resume = resume
    }
  }

  async #untilDue(retries: DueRetries | undefined): Promise<boolean> {
    const { time } = this.#run
    const policies = this.#policies
    const pool = this.#pool
    let isTime = false
    while (!isTime && !time.isStopped) {
      retries?.noteSettled()
      // the last take brought something that was called, as the first of a lane: its next is due by now
      if (retries?.mayTake(true)) return true
      const turnMs = retries && retries.dueInMs <= TURN_WAIT_MS ? retries.dueInMs : Infinity
      const waitMs = Math.min(turnMs, policies.dueAt() - time.clock.now())
      if (!(waitMs <= time.waitableMs())) return false
      let isOver = false
      const end = (isDue: boolean) => () => {
        isOver = true
        isTime ||= isDue
        pool.notify()
      }
      const cancels = [time.clock.after(Math.max(SOONEST_MS, waitMs), end(true)), time.onAbort(end(false))]
      policies.resume = () => void cancels.push(time.clock.after(SOONEST_MS, end(false)))
      await pool.until(() => isOver)
      for (const cancel of cancels) cancel()
    }
    return isTime
  }

  end(): void {
    this.#retries?.end()
  }
}
