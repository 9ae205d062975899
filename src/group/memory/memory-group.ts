import { PARKED_CONSUMER } from '../../core/keys.ts'
import type { JoinedCommand, ScriptQuestion } from '../../core/outcome.ts'
import type { PlainReply } from '../../core/plain-reply.ts'
import type { Delivery, HeldEntry } from '../delivery.ts'
import type {
  ClaimerOperations,
  EntryWaiter,
  Group,
  GroupMeasurement,
  HandBack,
  IdleRenewalResult,
  PollerRunEnd,
  ReadRequest,
  ReadResult,
  Settlement,
  SettleResult,
  Slot,
  SlotKind,
} from '../group.ts'
import { toPlainReply } from '../redis/commands/reply.ts'
import { passGatesScript } from '../redis/scripts/pass-gates.ts'
import { CLAIM_TOLERANCE_MS, LATE_CLAIM_MS } from '../redis/scripts/plan-claim.ts'
import { PENDING_LIMIT_FLAG_MS } from '../redis/scripts/read-unless-pending-limit.ts'
import { MemoryClaimerOperations } from './memory-claimer-operations.ts'
import { MemoryEntryWaiter } from './memory-entry-waiter.ts'
import { passGatesInMemory } from './memory-gates.ts'
import type { MemoryGroupBase } from './memory-group-base.ts'
import { holdMarkersInMemory, isScriptQuestion } from './memory-holding.ts'
import type { StoredPendingEntry } from './memory-server.ts'
import { settleInMemory } from './memory-settling.ts'

/** The group port in memory. Each method does at once what the command or script of the same name does on a server. */
export class MemoryGroup implements Group {
  readonly claims: ClaimerOperations
  readonly #calls: MemoryGroupBase

  constructor(calls: MemoryGroupBase) {
    this.#calls = calls
    this.claims = new MemoryClaimerOperations(this.#calls)
  }

  openWaiter(): EntryWaiter {
    return new MemoryEntryWaiter(this.#calls, this)
  }

  get roundTrips(): number {
    return this.#calls.roundTrips
  }

  async takeSlot(kind: SlotKind, slots: number, leaseMs: number): Promise<Slot | undefined> {
    return this.#calls.takeSlot(kind, slots, leaseMs)
  }

  async measure(): Promise<GroupMeasurement | undefined> {
    return this.#calls.measure()
  }

  async giveSlot(slot: Slot, end?: PollerRunEnd): Promise<boolean> {
    if (slot.token === '') return false
    this.#calls.roundTrips++
    if (!this.#calls.isLeased(slot)) return false
    if (end) this.#handBack(slot, end.known)
    this.#calls.server.leases.delete(this.#calls.address.keys.slot(slot.consumerName))
    if (end?.hasAcked) this.#calls.state.acked = this.#calls.now
    if (end?.isInDoubt) this.#calls.state.doubts = { ...this.#calls.state.doubts, [slot.consumerName]: this.#calls.now }
    return end?.takesFlag === true && this.#calls.server.lower(this.#calls.address.keys.wake)
  }

  async settle(slot: Slot, settlements: readonly Settlement[], handBack?: HandBack): Promise<SettleResult> {
    const handsBack = handBack !== undefined && slot.token !== ''
    if (settlements.length > 0 || handsBack) this.#calls.roundTrips++
    const settled = settleInMemory(this.#calls, slot, settlements)
    if (handsBack && this.#calls.isLeased(slot) && this.#calls.isTurn(slot, handBack.turn))
      this.#handBack(slot, [...handBack.known, ...settlements.map(({ id }) => id)])
    return settled
  }

  async settleAndRead(
    slot: Slot,
    settlements: readonly Settlement[],
    { count, maxPending = Infinity, maxParked = Infinity, ifEmpty = 'keep', riders = [] }: ReadRequest,
  ): Promise<ReadResult> {
    this.#calls.roundTrips++
    const settled = settleInMemory(this.#calls, slot, settlements)
    const holder = this.#calls.server.holder(this.#calls.address.keys.slot(slot.consumerName))
    const leaseLost = holder !== undefined && holder !== slot.token
    const isBounded = maxPending !== Infinity
    // a plain XREADGROUP reads what is paused all the same
    const isPaused = isBounded && !leaseLost && this.#calls.isAllPaused
    const opened = isPaused ? undefined : this.#calls.open()
    const answers = riders.map((rider) => toPlainReply(this.#calls.server.values.run(rider)))
    const nothing = {
      ...settled,
      entries: [],
      pendingLimitReached: false,
      parkedLimitReached: false,
      hasEnded: false,
      groupRecreated: opened?.groupRecreated === true,
      ...(riders.length > 0 && { answers }),
      ...(!leaseLost && { ...this.#calls.seenPauses, ...this.#calls.seenDelays }),
    }
    if (!opened) return nothing
    if (leaseLost && isBounded) return { ...nothing, leaseLost }
    const { group } = opened
    const parked = [...group.pending.values()].filter(({ owner }) => owner === PARKED_CONSUMER).length
    const parkedLimitReached = isBounded && parked > maxParked
    if (parkedLimitReached || group.pending.size - parked > maxPending) {
      this.#calls.server.flags.set(this.#calls.address.keys.wake, this.#calls.now + PENDING_LIMIT_FLAG_MS)
      return { ...nothing, pendingLimitReached: !parkedLimitReached, parkedLimitReached }
    }
    const entries = this.#calls.stream.after(group.lastDeliveredId, count).map(({ id, fields }): Delivery => {
      group.lastDeliveredId = id
      this.#calls.take(group, slot, { id, deliveryCount: 1 })
      return { id, fields, deliveryCount: 1, returnTo: PARKED_CONSUMER }
    })
    group.consumers.set(slot.consumerName, this.#calls.now)
    // as a plain XREADGROUP, which asks nobody whose the name is
    if (leaseLost) return { ...nothing, leaseLost }
    if (entries.length > 0 || ifEmpty === 'keep' || !isBounded || holder === undefined) return { ...nothing, entries }
    if (ifEmpty === 'giveWithFlag') this.#calls.server.lower(this.#calls.address.keys.wake)
    this.#handBack(slot, [])
    this.#calls.server.leases.delete(this.#calls.address.keys.slot(slot.consumerName))
    return { ...nothing, hasEnded: true }
  }

  async renew(slot: Slot, held: readonly HeldEntry[]): Promise<IdleRenewalResult> {
    this.#calls.roundTrips++
    const group = this.#calls.find()
    if (!this.#calls.isLeased(slot)) return { lost: 0, leaseLost: true }
    for (const entry of held) if (group?.isHeldBy(slot.consumerName, entry)) this.#calls.take(group, slot, entry)
    return { lost: 0, leaseLost: false, ...this.#calls.seenPauses } // a trimmed entry stays pending here until it is settled, which counts it
  }

  async planClaim(dueInMs: number): Promise<boolean> {
    this.#calls.roundTrips++
    const { now, server, address } = this.#calls
    const planned = server.plans.get(address.keys.nextClaim)
    if (planned !== undefined && planned <= now + dueInMs + CLAIM_TOLERANCE_MS && planned > now - LATE_CLAIM_MS)
      return false
    this.#calls.planNextClaim(dueInMs)
    return true
  }

  async ask(commands: readonly (JoinedCommand | ScriptQuestion)[]): Promise<readonly PlainReply[]> {
    if (commands.length > 0) this.#calls.roundTrips++
    return commands.map((command) =>
      isScriptQuestion(command)
        ? command.script === passGatesScript
          ? passGatesInMemory(this.#calls, command)
          : holdMarkersInMemory(this.#calls, command)
        : toPlainReply(this.#calls.server.values.run(command)),
    )
  }

  /** Releases what was read under our lease and never reached us, which is what we do not know of. */
  #handBack(slot: Slot, known: readonly string[]): void {
    const { until = 0 } = this.#calls.server.leases.get(this.#calls.address.keys.slot(slot.consumerName)) ?? {}
    const takenAt = until - slot.leaseMs
    const { minIdleMs } = this.#calls.address.settings
    const isOurs = ({ deliveredAt }: StoredPendingEntry, id: string) =>
      deliveredAt >= takenAt && !this.#calls.wasBefore(slot, id)
    this.#calls.releaseReads(slot, minIdleMs, (pending, id) => isOurs(pending, id) && !known.includes(id))
  }
}
