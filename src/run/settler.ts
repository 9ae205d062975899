import { comesBackInTime, isPlainAck } from '../core/outcome.ts'
import type { Consumer } from '../define/consumer.ts'
import { RedisConnectionError } from '../errors.ts'
import type { Group, HandBack, Settlement, SettleResult, Slot } from '../group/group.ts'
import type { ClaimerCalls } from './claimer-wake.ts'
import type { DeadLetterNotices } from './dead-letter-notices.ts'
import type { EntryInHand } from './entry-in-hand.ts'
import { hasOutcome } from './entry-in-hand.ts'
import type { RunReport } from './run-report.ts'
import type { RunTime } from './time.ts'

/** What a settler settles for. */
interface SettlerParts {
  readonly consumer: Consumer
  readonly group: Group
  readonly slot: Slot
  readonly time: RunTime
  readonly report: RunReport
  /** `undefined` where nobody asked for notices of dead letters. */
  readonly notices: DeadLetterNotices | undefined
  /** `undefined` where nobody is woken for what is set aside. */
  readonly wakes: ClaimerCalls | undefined
}

/**
 * Has in hand what a run is to settle, from when it came until the server has answered for it. What was not answered comes back in hand: sent again it
 * does no harm, and the run's last requests send it again.
 */
export class Settler {
  readonly #parts: SettlerParts
  #inHand: EntryInHand[] = []
  /** Of requests that were not answered yet. */
  #underWay: readonly (readonly Settlement[])[] = []
  /** Entries whose outcome may not be stored: the server refused a request that they were in. */
  readonly #refused = new Set<string>()
  /** Entries of requests of which the fence refused some: whoever claimed them may give them back to our name. */
  readonly #superseded = new Set<string>()
  /** A read was not answered: entries may lie under our name that we do not know of. */
  #isReadInDoubt = false
  /** Others were read under our name: what the reads that follow do not bring is nobody's. */
  #isReadInDoubtAtEnd = false
  #giveBack: ((done: readonly Settlement[]) => Promise<SettleResult>) | undefined
  /** One a message: a hundred failures of a kind are one. */
  readonly #failures = new Map<string, Error>()
  readonly #notes = new Map<string, Error>()
  #meanwhile: Promise<void> | undefined
  #hasTakenBack = false
  #handBacks = 0
  #soonestMs = Infinity
  /** Whether an outcome waits: something that goes before it is under way. Set by whoever keeps order. */
  waits: ((entry: EntryInHand) => boolean) | undefined

  constructor(parts: SettlerParts) {
    this.#parts = parts
  }

  take(entries: readonly EntryInHand[]): void {
    this.#inHand = this.#inHand.length === 0 ? [...entries] : [...this.#inHand, ...entries]
  }

  /** They leave our hands without an outcome: another request takes care of them. */
  drop(entries: readonly EntryInHand[]): void {
    const dropped = new Set(entries)
    this.#inHand = this.#inHand.filter((entry) => !dropped.has(entry))
  }

  /** What is under our name and has to stay so: all but what did not end in time. */
  get held(): readonly EntryInHand[] {
    return this.#inHand.filter(({ overran }) => !overran)
  }

  /** Of all that is in hand. */
  get bytes(): number {
    return this.#inHand.reduce((sum, { bytes = 0 }) => sum + bytes, 0)
  }

  get hasDone(): boolean {
    return this.#inHand.some(this.#isReady)
  }

  /** Something was settled since that was asked last that stays pending: it failed, or was released. */
  tookBack(): boolean {
    const has = this.#hasTakenBack
    this.#hasTakenBack = false
    return has
  }

  /** Milliseconds until the first of what was set aside since that was asked last comes back; Infinity if nothing was. */
  soonestMs(): number {
    const soonest = this.#soonestMs
    this.#soonestMs = Infinity
    return soonest
  }

  /** Nothing has failed, or was released, of what this settles. */
  get hasOnlyAcks(): boolean {
    return this.#inHand.every(({ outcome }) => outcome === undefined || isPlainAck(outcome))
  }

  /** What has its outcome leaves our hands, to be settled by the next request. */
  takeDone(): Settlement[] {
    const done: Settlement[] = []
    const left: EntryInHand[] = []
    for (const entry of this.#inHand) {
      if (this.#isReady(entry)) done.push(entry)
      else left.push(entry)
    }
    this.#inHand = left
    return done
  }

  readonly #isReady = (entry: EntryInHand): entry is EntryInHand & Settlement =>
    hasOutcome(entry) && !this.waits?.(entry)

  /**
   * Makes a call that settles, and counts the outcomes.
   *
   * @param settlements What it settles.
   * @throws {RedisConnectionError} No reply came, to a part of it at least. What is not known is in hand again.
   */
  async by<Result extends SettleResult>(settlements: readonly Settlement[], call: Promise<Result>): Promise<Result> {
    this.#underWay = [...this.#underWay, settlements]
    try {
      return await this.#answered(settlements, call)
    } finally {
      this.#underWay = this.#underWay.filter((other) => other !== settlements)
    }
  }

  async #answered<Result extends SettleResult>(
    settlements: readonly Settlement[],
    call: Promise<Result>,
  ): Promise<Result> {
    const { report, time, notices, wakes } = this.#parts
    const result = await call.catch((error: unknown) => {
      this.#inHand = [...settlements, ...this.#inHand]
      throw error
    })
    const { unanswered, failed = [] } = result
    const back = new Set([...(unanswered?.settlements ?? []), ...failed.map(({ settlement }) => settlement)])
    const answered = back.size === 0 ? settlements : settlements.filter((settlement) => !back.has(settlement))
    for (const { settlement, refusal } of failed) settlement.effects?.refused(refusal)
    report.settled(answered, result)
    this.#hasTakenBack ||= answered.some(({ outcome }) => !isPlainAck(outcome))
    const delays = answered.flatMap(({ outcome }) => (comesBackInTime(outcome) ? [outcome.delayMs] : []))
    if (delays.length > 0) {
      const soonestMs = Math.min(...delays)
      this.#soonestMs = Math.min(this.#soonestMs, soonestMs)
      wakes?.plan(soonestMs)
    }
    for (const failure of [...result.failures, ...result.refusals]) this.#failures.set(failure.message, failure)
    if (result.failures.length > 0 || result.leaseLost) time.stop()
    if (result.counts.unsettled > 0) for (const { id } of answered) this.#refused.add(id)
    if (result.counts.superseded > 0) for (const { id } of answered) this.#superseded.add(id)
    for (const letter of result.letters) notices?.send(letter)
    for (const letter of result.refusedLetters) notices?.refused(letter)
    if (back.size > 0) this.#inHand = [...back, ...this.#inHand]
    if (!unanswered) return result
    throw unanswered.error
  }

  /**
   * Takes note of a call that settles nothing.
   *
   * @throws {RedisConnectionError} No reply came.
   */
  heard({ unanswered, failures, leaseLost }: SettleResult): void {
    if (unanswered) throw unanswered.error
    for (const failure of failures) this.#failures.set(failure.message, failure)
    if (failures.length > 0 || leaseLost) this.#parts.time.stop()
  }

  /** A read was not answered: the next hand-back releases what it brought. */
  doubtRead(): void {
    this.#isReadInDoubt = true
  }

  /** More was read than any answer says; the reads that follow bring it, and the last hand-back releases the rest. */
  doubtReadAtEnd(): void {
    this.#isReadInDoubtAtEnd = true
  }

  /** A take was not answered. @param giveBack Settles, and gives back what it brought. */
  doubtTake(giveBack: (done: readonly Settlement[]) => Promise<SettleResult>): void {
    this.#giveBack = giveBack
  }

  /** A take was not answered, and what it brought has yet to be given back, before anything is taken again. */
  get owesGiveBack(): boolean {
    return this.#giveBack !== undefined
  }

  /** Settles what is done. @throws {RedisConnectionError} No reply came. */
  async settle(): Promise<void> {
    const { group, slot } = this.#parts
    const done = this.takeDone()
    if (done.length === 0) return
    const { failed } = await this.by(done, group.settle(slot, done))
    // these have another outcome now
    if (failed) await this.settle()
  }

  /** Settles what is done, and gives back what a take brought that was not answered. Nothing may be taken meanwhile. @throws {RedisConnectionError} No reply came. */
  async giveBack(): Promise<void> {
    if (!this.#giveBack) return
    const done = this.takeDone()
    await this.by(done, this.#giveBack(done))
    this.#giveBack = undefined
  }

  /**
   * Settles what is done, and hands back what reads and takes brought that were not answered. Nothing may be read, taken or started meanwhile: it would be handed back, too, as it is not known yet.
   *
   * @throws {RedisConnectionError} No reply came.
   */
  async handBack(): Promise<void> {
    const { group, slot } = this.#parts
    await this.giveBack()
    if (!this.#isReadInDoubt) return this.settle()
    const done = this.takeDone()
    const { failed } = await this.by(done, group.settle(slot, done, this.nextHandBack()))
    if (failed) await this.settle()
  }

  /** Settles what is done while handlers run; where no reply comes, the run ends with them. */
  settleMeanwhile(): void {
    const settling = this.settle().catch((error: Error) => {
      this.#failures.set(error.message, error)
      this.#parts.time.stop()
    })
    this.#meanwhile = Promise.all([this.#meanwhile, settling]).then(() => {})
  }

  /**
   * Settles all that is done, and hands back what never reached us; when it resolves, or fails, nothing that settles is under way.
   *
   * @throws {RedisConnectionError} No reply came.
   */
  async finish(): Promise<void> {
    await this.#meanwhile
    this.#isReadInDoubt ||= this.#isReadInDoubtAtEnd
    await this.handBack()
  }

  /** The run is over: what is in hand still, nobody knows of. */
  giveUp(): void {
    this.#parts.report.unanswered(this.#inHand.length)
  }

  /** What fails without harm to what the run settles: the run goes on, and ends in an error. */
  note(failure: Error): void {
    this.#notes.set(failure.message, failure)
  }

  /** Failures that end the run in an error, once it is over. */
  get failures(): readonly Error[] {
    return [...this.#failures.values(), ...this.#notes.values()]
  }

  /** Whether no reply failed to come, and a failure says so already. */
  get isCut(): boolean {
    return this.failures.some((failure) => failure instanceof RedisConnectionError)
  }

  /** Whether everything that reached the run is settled. */
  get isSettled(): boolean {
    return this.#refused.size === 0 && this.#inHand.length === 0 && this.#failures.size === 0
  }

  /** What the next request that hands back has to say: it knows what reached us, may have run, and may still be pending under our name, or be again. */
  nextHandBack(): HandBack {
    const ours = [...this.#inHand.filter((entry) => mayHaveRun(entry) || this.waits?.(entry)), ...this.#underWay.flat()]
    const known = [...this.#refused, ...this.#superseded, ...ours.map(({ id }) => id)]
    return { known, turn: ++this.#handBacks }
  }

  get isReadInDoubt(): boolean {
    return this.#isReadInDoubt
  }
}

/** What was to be released or parked never ran, unless in a delivery before: where no settlement says so, the hand-back does. */
function mayHaveRun({ outcome }: EntryInHand): boolean {
  return outcome?.kind === 'release' ? outcome.deliveryCount > 0 : outcome?.kind !== 'park'
}
