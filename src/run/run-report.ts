import type { Clock } from '../clock.ts'
import { entryAgeMs } from '../core/entry.ts'
import { OUTCOME_KINDS } from '../core/outcome.ts'
import { WHOLE_GROUP } from '../core/pauses.ts'
import type { Consumer } from '../define/consumer.ts'
import type { ObservedInvocation } from '../define/observe.ts'
import type { Observers } from '../define/observers.ts'
import type { ClaimedEntry, Delivery } from '../group/delivery.ts'
import type { Settlement, SettleResult } from '../group/group.ts'
import type { Backlog, ConsumerReport, OpenReport } from '../report.ts'
import { createOpenReport } from '../report.ts'

/**
 * A consumer's report while its run goes on. Nobody else writes it: there is one method per event, which counts it and notifies observers.
 *
 * Every entry that reaches the run is counted twice, once when it comes (`read`, `claimed`) and once when it goes (`settled`, `unanswered`);
 * that is why the report adds up.
 */
export class RunReport {
  readonly #report: OpenReport
  readonly #maxDeadLetters: number
  readonly #clock: Clock
  readonly #observers: Observers | undefined
  readonly #invocation: ObservedInvocation

  constructor(
    { stream, group, set, settings }: Consumer,
    clock: Clock,
    invocation: ObservedInvocation,
    observers: Observers | undefined,
  ) {
    this.#report = createOpenReport(stream, group, set?.name)
    this.#maxDeadLetters = settings.maxDeadLetters
    this.#clock = clock
    this.#invocation = invocation
    this.#observers = observers
  }

  get numbers(): ConsumerReport {
    return this.#report
  }

  /** A slot was taken, or every one was by others. */
  slotTaken(is: boolean): void {
    this.#report.noFreeSlot = !is
  }

  /** That is paused: event types, or the group as a whole. */
  paused(paused: readonly string[]): void {
    const report = this.#report
    report.paused ||= paused.includes(WHOLE_GROUP)
    this.#addTypes(
      'pausedTypes',
      paused.filter((one) => one !== WHOLE_GROUP),
    )
  }

  #addTypes(name: 'pausedTypes' | 'openCircuits', types: readonly string[]): void {
    const all = new Set([...(this.#report[name] ?? []), ...types])
    if (all.size > 0) this.#report[name] = [...all].sort()
  }

  /** A read was answered, whatever it brought. */
  looked({
    pendingLimitReached,
    parkedLimitReached,
    groupRecreated,
    drained,
  }: Pick<ConsumerReport, 'pendingLimitReached' | 'parkedLimitReached' | 'groupRecreated' | 'drained'>): void {
    this.#report.pendingLimitReached ||= pendingLimitReached
    this.#report.parkedLimitReached ||= parkedLimitReached
    this.#report.groupRecreated ||= groupRecreated
    this.#report.drained = drained
  }

  read(entries: readonly Delivery[]): void {
    const report = this.#report
    const last = entries.at(-1) as Delivery
    report.read += entries.length
    report.batches++
    const ageMs = entryAgeMs(last.id, this.#clock.now())
    if (ageMs !== undefined) report.iteratorAgeMs = Math.max(report.iteratorAgeMs ?? 0, ageMs)
    if (this.#observers) this.#tell('entriesRead', { entryIds: entries.map(({ id }) => id) })
  }

  /** A page of pending entries was inspected, whatever of it was claimed. */
  lookedAtPage({ lost, groupRecreated }: { lost: number; groupRecreated: boolean }): void {
    this.#report.lost += lost
    this.#report.groupRecreated ||= groupRecreated
  }

  claimed(claimed: readonly ClaimedEntry[]): void {
    this.#report.claimed += claimed.length
    this.#report.batches++
    if (!this.#observers) return
    const now = this.#clock.now()
    const entries = claimed.map(({ id: entryId, deliveryCount, from }) => ({
      entryId,
      ageMs: entryAgeMs(entryId, now),
      deliveryCount,
      owner: from.owner,
      idleMs: from.idleMs,
    }))
    this.#tell('entriesClaimed', { entries })
  }

  lapEnded(): void {
    this.#report.drained = true
  }

  /** Handlers are called for so many deliveries. */
  invoked(deliveries: number): void {
    this.#report.invoked += deliveries
  }

  failed(): void {
    this.#report.failed++
  }

  throttled(deliveries: number): void {
    this.#report.throttled += deliveries
  }

  /** Entries were set aside by a limit, or behind others of their key. */
  limited(by: 'rateLimited' | 'concurrencyLimited' | 'circuitOpen' | 'waiting', entries = 1): void {
    this.#report[by] = (this.#report[by] ?? 0) + entries
  }

  /** Event types whose circuit breaker is open. */
  circuitsOpen(types: readonly string[]): void {
    this.#addTypes('openCircuits', types)
  }

  unguarded(): void {
    this.#report.unguarded++
  }

  overran(deliveries: number): void {
    this.#report.overran += deliveries
  }

  /** Outcomes were sent, and answered. */
  settled(settlements: readonly Settlement[], { counts, notAcked = [] }: SettleResult): void {
    const report = this.#report
    for (const name of Object.keys(counts) as (keyof typeof counts)[]) report[name] += counts[name]
    if (!this.#observers || counts.acked === 0) return
    const now = this.#clock.now()
    const missed = new Set(notAcked)
    const acked = settlements.filter((one) => OUTCOME_KINDS[one.outcome.kind].counter === 'acked' && !missed.has(one))
    const entries = acked.map(({ id: entryId, eventType = '', outcome }) => ({
      entryId,
      eventType,
      ageMs: entryAgeMs(entryId, now),
      ...(outcome.kind === 'duplicate' && { isDuplicate: true }),
    }))
    this.#tell('acked', { entries })
  }

  /** Outcomes were sent, and nothing is known of them. */
  unanswered(entries: number): void {
    this.#report.unsettled += entries
  }

  /** What we hold turned out to be trimmed. */
  lost(entries: number): void {
    this.#report.lost += entries
  }

  /** Delayed events went into the stream. */
  promoted(events: number): void {
    this.#report.promoted += events
  }

  scaledOut(): void {
    this.#report.scaledOut++
  }

  measured(backlog: Backlog): void {
    const most = this.#maxDeadLetters
    const deadLettersPercent = Math.round((10_000 * backlog.deadLetters) / most) / 100
    this.#report.backlog = most === Infinity ? backlog : { ...backlog, deadLettersPercent }
  }

  /** Another poller goes on where this run's time was up. */
  continued(): void {
    this.#report.continued = true
  }

  ended(roundTrips: number, durationMs: number): void {
    this.#report.roundTrips = roundTrips
    this.#report.durationMs = Math.round(durationMs)
  }

  #tell<Name extends 'entriesRead' | 'entriesClaimed' | 'acked'>(name: Name, told: object): void {
    const { stream, group } = this.#report
    this.#observers?.tell(name, { invocation: this.#invocation, stream, group, ...told } as never)
  }
}
