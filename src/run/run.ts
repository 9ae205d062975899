import type { Clock } from '../clock.ts'
import type { Consumer } from '../consumer.ts'
import type { Budget } from '../core/budget.ts'
import { mayStart, roundsLeft } from '../core/budget.ts'
import type { SettleCounts } from '../core/counts.ts'
import type { Group, Held, Settlement, SettleResult, Slot } from '../group/group.ts'
import type { LambdaContext } from '../handler.ts'
import type { OpenReport } from '../report.ts'
import type { Gate } from './gate.ts'
import type { FurtherPollers } from './scale-out.ts'

/** What one run of a consumer is made of. */
export interface RunParts {
  readonly consumer: Consumer
  readonly group: Group
  readonly slot: Slot
  readonly budget: Budget
  readonly clock: Clock
  /** Chance, from 0 to 1: the back-off's jitter. */
  readonly random: () => number
  readonly report: OpenReport
  readonly lambda: Partial<LambdaContext> | undefined
  /** What else is in Lambda's context, such as what a middleware put there. */
  readonly extras: object | undefined
  readonly signal: AbortSignal | undefined
  /** The pollers that the invocation may call. */
  readonly further: FurtherPollers | undefined
  /** Shared by all runs of the invocation: what may kill the process runs while nothing else does. */
  readonly gate: Gate
}

const nothing = (): readonly Held[] => []

/** Renewals come no faster than this, however small `minIdleMs` is. */
const RENEWAL_MS = 10

/** One run of a consumer, from taking its slot to giving it back. Settles through the group, and keeps the report adding up. */
export class Run {
  readonly parts: RunParts
  /** Handlers past their time that have not settled. */
  overrunning = 0
  /** Time was up while entries still waited to be read. */
  isCutOff = false
  /** Entries whose handlers' time was up: nothing more of them is renewed. */
  readonly #overran = new Set<string>()
  readonly #failures = new Map<string, Error>()
  readonly #notes = new Map<string, Error>()
  /** The server refuses what we settle with, or the slot is lost: starting more would be in vain. */
  #vain = false
  #held: () => readonly Held[] = nothing
  #renewing: Promise<void> | undefined
  #cancelRenewal: () => void = () => {}

  constructor(parts: RunParts) {
    this.parts = parts
    this.#scheduleRenewal()
  }

  /** Failures that end the run in an error, once it is over; a hundred of a kind are one. */
  get failures(): readonly Error[] {
    return [...this.#failures.values(), ...this.#notes.values()]
  }

  /** Whether a handler that starts now can be settled in time, and nobody asked to stop. */
  mayStart(): boolean {
    const { budget, clock, signal } = this.parts
    return !this.#vain && !signal?.aborted && mayStart(budget, clock.monotonic())
  }

  /** Milliseconds until settling needs all the time that is left. */
  spareMs(): number {
    const { budget, clock, consumer } = this.parts
    return budget.deadline - clock.monotonic() - consumer.settings.reserveMs
  }

  /** Whether nothing but the time keeps the run from going on. */
  get isSound(): boolean {
    return !this.#vain && !this.parts.signal?.aborted && this.failures.length === 0
  }

  /** What fails without harm to what the run settles: the run goes on, and ends in an error. */
  note(failure: Error): void {
    this.#notes.set(failure.message, failure)
  }

  /** Whether everything that reached the run is settled. */
  get isSettled(): boolean {
    return this.parts.report.unsettled === 0 && this.#failures.size === 0
  }

  /** How many handlers can still run one after the other, each taking all its time. */
  roundsLeft(): number {
    const { budget, clock, consumer } = this.parts
    return this.mayStart() ? roundsLeft(budget, clock.monotonic(), consumer.settings.handlerTimeoutMs) : 0
  }

  /**
   * Makes a call that settles, and counts the outcomes.
   *
   * @param atStake Entries of which nothing is known if no reply comes: they are counted as unsettled.
   * @throws {RedisConnectionError} No reply came.
   */
  async settleBy<Result extends SettleResult>(atStake: number, call: Promise<Result>): Promise<Result> {
    try {
      const result = await call
      for (const [name, count] of Object.entries(result.counts)) this.parts.report[name as keyof SettleCounts] += count
      for (const failure of [...result.failures, ...result.refusals]) this.#failures.set(failure.message, failure)
      this.#vain ||= result.failures.length > 0 || result.leaseLost
      return result
    } catch (error) {
      this.parts.report.unsettled += atStake
      throw error
    }
  }

  /** An entry's handler is past its time. */
  overran(entry: Held): void {
    this.overrunning++
    this.#overran.add(deliveryOf(entry))
  }

  hasOverrun(entry: Held): boolean {
    return this.#overran.size > 0 && this.#overran.has(deliveryOf(entry))
  }

  /** While it works, what is under our name and not settled yet has its idle clock renewed. */
  async holding<T>(held: () => readonly Held[], work: () => Promise<T>): Promise<T> {
    this.#held = held
    return work().finally(() => {
      this.#held = nothing
    })
  }

  /** Settles what is left. */
  async settle(settlements: readonly Settlement[]): Promise<void> {
    if (settlements.length === 0) return
    await this.settleBy(settlements.length, this.parts.group.settle(this.parts.slot, settlements))
  }

  /** Settles while handlers run; where no reply comes, the run ends with them. */
  async settleMeanwhile(settlements: readonly Settlement[]): Promise<void> {
    await this.settle(settlements).catch((error: Error) => {
      this.#failures.set(error.message, error)
      this.#vain = true
    })
  }

  /** Ends the renewal; when it resolves no timer and no command of the run is left. */
  async end(): Promise<void> {
    this.#cancelRenewal()
    this.parts.report.overran += this.overrunning
    await this.#renewing
  }

  // three chances before a claimer may take what we hold; a renewal that fails is made good by the next, or the entry is claimed
  #scheduleRenewal(): void {
    const { clock, consumer } = this.parts
    this.#cancelRenewal = clock.after(Math.max(RENEWAL_MS, consumer.settings.minIdleMs / 3), () => {
      this.#renewing = this.#renew().then(() => {
        this.#renewing = undefined
      })
      this.#scheduleRenewal()
    })
  }

  async #renew(): Promise<void> {
    const held = this.#held().filter((entry) => !this.hasOverrun(entry))
    if (held.length === 0 || this.#renewing) return this.#renewing
    const { group, slot, report } = this.parts
    const renewed = await group.renew(slot, held).catch(() => undefined)
    report.lost += renewed?.lost ?? 0
    this.#vain ||= renewed?.leaseLost ?? false
  }
}

function deliveryOf({ id, deliveryCount }: Held): string {
  return `${id} ${deliveryCount}`
}
