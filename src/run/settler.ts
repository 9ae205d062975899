import type { Consumer } from '../consumer.ts'
import type { Group, Settlement, SettleResult, Slot } from '../group/group.ts'
import type { InHand } from './in-hand.ts'
import { isDone } from './in-hand.ts'
import type { Notices } from './notices.ts'
import type { RunReport } from './run-report.ts'
import type { Time } from './time.ts'

/** What a settler settles for. */
interface SettlerParts {
  readonly consumer: Consumer
  readonly group: Group
  readonly slot: Slot
  readonly time: Time
  readonly report: RunReport
  /** `undefined` where nobody is to be told of dead letters. */
  readonly notices: Notices | undefined
}

/** Has in hand what a run is to settle, from when it came until its outcome is on its way to the server. */
export class Settler {
  readonly #parts: SettlerParts
  #inHand: InHand[] = []
  /** One a message: a hundred failures of a kind are one. */
  readonly #failures = new Map<string, Error>()
  readonly #notes = new Map<string, Error>()
  #meanwhile: Promise<void> | undefined

  constructor(parts: SettlerParts) {
    this.#parts = parts
  }

  take(entries: readonly InHand[]): void {
    this.#inHand = this.#inHand.length === 0 ? [...entries] : [...this.#inHand, ...entries]
  }

  /** They leave our hands without an outcome: another request takes care of them. */
  drop(entries: readonly InHand[]): void {
    const dropped = new Set(entries)
    this.#inHand = this.#inHand.filter((entry) => !dropped.has(entry))
  }

  /** What is under our name and has to stay so: all but what did not end in time. */
  get held(): readonly InHand[] {
    return this.#inHand.filter(({ overran }) => !overran)
  }

  get hasDone(): boolean {
    return this.#inHand.some(isDone)
  }

  /** Nothing has failed, or was released, of what is to be settled. */
  get hasOnlyAcks(): boolean {
    return this.#inHand.every(({ outcome }) => outcome === undefined || outcome.kind === 'ack')
  }

  /** What has its outcome leaves our hands, to be settled by the next request. */
  takeDone(): Settlement[] {
    const done: Settlement[] = []
    const left: InHand[] = []
    for (const entry of this.#inHand) {
      if (isDone(entry)) done.push(entry)
      else left.push(entry)
    }
    this.#inHand = left
    return done
  }

  /**
   * Makes a call that settles, and counts the outcomes.
   *
   * @param settlements What it settles. Nothing is known of it if no reply comes: it is counted as unsettled.
   * @param more Further entries of which the same is true.
   * @throws {RedisConnectionError} No reply came.
   */
  async by<Result extends SettleResult>(
    settlements: readonly Settlement[],
    call: Promise<Result>,
    more = 0,
  ): Promise<Result> {
    const { report, time, notices } = this.#parts
    try {
      const result = await call
      report.settled(settlements, result)
      for (const failure of [...result.failures, ...result.refusals]) this.#failures.set(failure.message, failure)
      if (result.failures.length > 0 || result.leaseLost) time.stop()
      for (const letter of result.letters) notices?.send(letter)
      for (const letter of result.refusedLetters) notices?.refused(letter)
      return result
    } catch (error) {
      report.unanswered(settlements.length + more)
      throw error
    }
  }

  /** Settles what is done. @throws {RedisConnectionError} No reply came. */
  async settle(): Promise<void> {
    const done = this.takeDone()
    if (done.length > 0) await this.by(done, this.#parts.group.settle(this.#parts.slot, done))
  }

  /** Settles what is done while handlers run; where no reply comes, the run ends with them. */
  settleMeanwhile(): void {
    const settling = this.settle().catch((error: Error) => {
      this.#failures.set(error.message, error)
      this.#parts.time.stop()
    })
    this.#meanwhile = Promise.all([this.#meanwhile, settling]).then(() => {})
  }

  /** Settles all that is done; when it resolves, or fails, nothing that settles is under way. */
  async finish(): Promise<void> {
    await this.#meanwhile
    await this.settle()
  }

  /** What fails without harm to what the run settles: the run goes on, and ends in an error. */
  note(failure: Error): void {
    this.#notes.set(failure.message, failure)
  }

  /** Failures that end the run in an error, once it is over. */
  get failures(): readonly Error[] {
    return [...this.#failures.values(), ...this.#notes.values()]
  }

  /** Whether everything that reached the run is settled. */
  get isSettled(): boolean {
    return this.#parts.report.numbers.unsettled === 0 && this.#failures.size === 0
  }
}
