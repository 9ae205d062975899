import { mayStart } from '../core/budget.ts'
import type { SettleCounts } from '../core/counts.ts'
import { ageOf } from '../core/entry.ts'
import type { Held, Settlement, SettleResult } from '../group/group.ts'
import type { Route } from '../route.ts'
import type { Notices } from './notices.ts'
import { createNotices } from './notices.ts'
import type { RunParts } from './parts.ts'

const nothing = (): readonly Held[] => []

/** What waits for others is handed over that long before nothing could start any more. */
const WAIT_MARGIN_MS = 50

/** Renewals come no faster than this, however small `minIdleMs` is. */
const RENEWAL_MS = 10

/** One run of a consumer, from taking its slot to giving it back. Settles through the group, and keeps the report adding up. */
export class Run {
  readonly parts: RunParts
  /** Handlers past their time that have not settled. */
  overrunning = 0
  /** Time was up while entries still waited to be read. */
  isCutOff = false
  readonly #failures = new Map<string, Error>()
  readonly #notes = new Map<string, Error>()
  readonly #unavailable = new Set<Route>()
  readonly #notices: Notices | undefined
  /** The server refuses what we settle with, or the slot is lost: starting more would be in vain. */
  #vain = false
  #held: () => readonly Held[] = nothing
  #renewing: Promise<void> | undefined
  #cancelRenewal: () => void = () => {}

  constructor(parts: RunParts) {
    this.parts = parts
    this.#notices = createNotices(parts)
    this.#scheduleRenewal()
  }

  /** Failures that end the run in an error, once it is over; a hundred of a kind are one. */
  get failures(): readonly Error[] {
    return [...this.#failures.values(), ...this.#notes.values()]
  }

  /** Whether a handler that starts now, or at that time of the monotonic clock, can be settled in time, and nobody asked to stop. */
  mayStart(at = this.parts.clock.monotonic()): boolean {
    const { budget, signal } = this.parts
    return !this.#vain && !signal?.aborted && mayStart(budget, at)
  }

  /** Nothing starts any more. */
  stop(): void {
    this.#vain = true
  }

  /** Milliseconds for which an event may wait for others and still be handled. */
  waitableMs(): number {
    const { budget, clock } = this.parts
    return Math.min(budget.runUntil, budget.deadline - budget.neededMs) - clock.monotonic() - WAIT_MARGIN_MS
  }

  /** Whether there is time to wait for others, and others may come. */
  mayWait(): boolean {
    return this.mayStart() && this.waitableMs() > 0 && !this.isHeldBack
  }

  /** Nothing more is called of a route whose handler could not hand its work on, and nothing more is read. */
  unavailable(route: Route, error: Error & { readonly isLasting?: boolean }): void {
    this.#unavailable.add(route)
    if (error.isLasting) this.note(error)
  }

  isUnavailable(route: Route): boolean {
    return this.#unavailable.has(route)
  }

  /** What is read now could not be handed on. */
  get isHeldBack(): boolean {
    return this.#unavailable.size > 0
  }

  /** Milliseconds until settling needs all the time that is left. */
  spareMs(): number {
    const { budget, clock, consumer } = this.parts
    return budget.deadline - clock.monotonic() - consumer.settings.reserveMs
  }

  /** Whether nothing but the time keeps the run from going on. */
  get isSound(): boolean {
    return !this.#vain && !this.isHeldBack && !this.parts.signal?.aborted && this.failures.length === 0
  }

  /** What fails without harm to what the run settles: the run goes on, and ends in an error. */
  note(failure: Error): void {
    this.#notes.set(failure.message, failure)
  }

  /** Whether everything that reached the run is settled. */
  get isSettled(): boolean {
    return this.parts.report.unsettled === 0 && this.#failures.size === 0
  }

  /**
   * Makes a call that settles, and counts the outcomes.
   *
   * @param settlements What it settles. Nothing is known of it if no reply comes: it is counted as unsettled.
   * @param more Further entries of which the same is true.
   * @throws {RedisConnectionError} No reply came.
   */
  async settleBy<Result extends SettleResult>(
    settlements: readonly Settlement[],
    call: Promise<Result>,
    more = 0,
  ): Promise<Result> {
    try {
      const result = await call
      for (const [name, count] of Object.entries(result.counts)) this.parts.report[name as keyof SettleCounts] += count
      for (const failure of [...result.failures, ...result.refusals]) this.#failures.set(failure.message, failure)
      this.#vain ||= result.failures.length > 0 || result.leaseLost
      if (settlements.length > 0) this.#told(settlements, result)
      return result
    } catch (error) {
      this.parts.report.unsettled += settlements.length + more
      throw error
    }
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
    await this.settleBy(settlements, this.parts.group.settle(this.parts.slot, settlements))
  }

  /** Settles while handlers run; where no reply comes, the run ends with them. */
  async settleMeanwhile(settlements: readonly Settlement[]): Promise<void> {
    await this.settle(settlements).catch((error: Error) => {
      this.#failures.set(error.message, error)
      this.#vain = true
    })
  }

  #told(settlements: readonly Settlement[], { counts, letters, refusedLetters }: SettleResult): void {
    for (const letter of letters) this.#notices?.send(letter)
    for (const letter of refusedLetters) this.#notices?.refused(letter)
    const { observers, consumer, clock, invocation } = this.parts
    if (!observers) return
    const now = clock.now()
    const acked = settlements.filter(({ outcome }) => outcome.kind === 'ack')
    const entries = acked.map(({ id: entryId, eventType = '' }) => ({ entryId, eventType, ageMs: ageOf(entryId, now) }))
    const { stream, group } = consumer
    if (counts.acked > 0) observers.tell('acked', { invocation, stream, group, entries })
  }

  /** Ends the renewal; when it resolves no timer and no command of the run is left. */
  async end(): Promise<void> {
    this.#cancelRenewal()
    this.parts.report.overran += this.overrunning
    await this.#renewing
    await this.#notices?.end(this.spareMs())
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
    const held = this.#held()
    if (held.length === 0 || this.#renewing) return this.#renewing
    const { group, slot, report } = this.parts
    const renewed = await group.renew(slot, held).catch(() => undefined)
    report.lost += renewed?.lost ?? 0
    this.#vain ||= renewed?.leaseLost ?? false
  }
}
