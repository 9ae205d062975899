import { compareLapCursors, formatLapCursor } from '../../core/cursor.ts'
import type { Field } from '../../core/entry.ts'
import { entryBytes, entryIdBefore } from '../../core/entry.ts'
import { PARKED_CONSUMER } from '../../core/keys.ts'
import { CLAIMER_SLOT_COUNT } from '../consumer-names.ts'
import type { ClaimedEntry, Delivery, HeldEntry } from '../delivery.ts'
import { ownerToReturnTo } from '../delivery.ts'
import type {
  ClaimerOperations,
  ClaimerRunEnd,
  ClaimRequest,
  ClaimResult,
  ClaimsEnd,
  OpenedClaimerSlot,
  Settlement,
  SettleResult,
  Slot,
  StartClaimedBounds,
  StartClaimedResult,
  TakeDueRequest,
  TakeDueResult,
} from '../group.ts'
import type { HealedPage } from '../healed-page.ts'
import { toPlainReply } from '../redis/commands/reply.ts'
import { CLAIM_PAGE_LIMITS } from '../redis/scripts/claim-page.ts'
import { removeConsumersInMemory, takeOffTrimmedInMemory } from './memory-clean-up.ts'
import type { MemoryGroupBase } from './memory-group-base.ts'
import { TAKEN_SCORE } from './memory-group-base.ts'
import { isGuardClosed, isPaused, isStartForbidden, isTypeHeldByGuards } from './memory-guards.ts'
import { healInMemory } from './memory-heal.ts'
import type { MemoryConsumerGroup, StoredPendingEntry } from './memory-server.ts'
import { settleInMemory } from './memory-settling.ts'
import { MemoryTake } from './memory-take.ts'

/** The claimer's side of the group port in memory. */
export class MemoryClaimerOperations implements ClaimerOperations {
  readonly #calls: MemoryGroupBase
  /** By the last take, with the count that each goes back with. */
  #taken: readonly (HeldEntry & { readonly left: number })[] = []

  constructor(calls: MemoryGroupBase) {
    this.#calls = calls
  }

  async takeSlotAndClaim(leaseMs: number, request: ClaimRequest): Promise<OpenedClaimerSlot | undefined> {
    const slot = await this.#calls.takeSlot('claimer', CLAIMER_SLOT_COUNT, leaseMs)
    if (!slot) return undefined
    this.#calls.roundTrips--
    return { slot, page: await this.settleAndClaim(slot, [], request) }
  }

  async settleAndClaim(
    slot: Slot,
    settlements: readonly Settlement[],
    { minIdleMs, cursor, room, riders = [] }: ClaimRequest,
  ): Promise<ClaimResult> {
    this.#calls.roundTrips++
    const settled = settleInMemory(this.#calls, slot, settlements)
    const answers = riders.map((rider) => toPlainReply(this.#calls.server.values.run(rider)))
    const nothing = {
      from: cursor ?? '',
      cursor: undefined,
      claimed: [],
      lost: 0,
      groupRecreated: false,
      isHealing: false,
    }
    if (!this.#calls.isLeased(slot)) return { ...settled, ...nothing, aside: { conditions: [] }, leaseLost: true }
    const told = { ...this.#calls.seenPauses, ...(riders.length > 0 && { answers }) }
    const start = () => cursor ?? this.#calls.state.cursor ?? '0-0'
    if (this.#calls.isAllPaused)
      return { ...settled, ...nothing, from: start(), cursor: start(), aside: { conditions: [] }, ...told }
    const { group, groupRecreated } = this.#calls.open()
    const from = start()
    const most = Math.min(room, CLAIM_PAGE_LIMITS.finds)
    const { claimed, lost, after } =
      most > 0 ? this.#page(group, from, minIdleMs, most) : { claimed: [], lost: 0, after: from }
    for (const entry of claimed) this.#calls.take(group, slot, entry)
    return {
      ...settled,
      from,
      cursor: after,
      claimed,
      lost,
      groupRecreated,
      aside: this.#calls.left,
      isHealing: this.#calls.state.healing !== undefined,
      ...told,
    }
  }

  async settleAndTake(slot: Slot, settlements: readonly Settlement[], request: TakeDueRequest): Promise<TakeDueResult> {
    this.#calls.roundTrips++
    const settled = settleInMemory(this.#calls, slot, settlements)
    const till = request.till ?? Math.floor(this.#calls.now)
    const nothing = { ...settled, till, started: [], handed: [], lost: 0, isMore: false }
    this.#taken = []
    const ofLanes = this.#calls.taking()
    if (!this.#calls.isLeased(slot)) return { ...nothing, left: { conditions: [] }, leaseLost: true }
    const group = this.#calls.find()
    if (!group) return { ...nothing, left: { conditions: [] } }
    if (this.#calls.isAllPaused) return { ...nothing, left: this.#calls.left, ...this.#calls.seenPauses }
    const { unless, guards = [] } = request
    const take = new MemoryTake(this.#calls, group, { ...request, till }, (type) =>
      isTypeHeldByGuards(this.#calls.server.values, type, unless, guards),
    )
    if (!guards.some((guard) => isGuardClosed(this.#calls.server.values, guard))) take.find(ofLanes)
    const { started, handed } = take.start(slot)
    this.#taken = [
      ...started.map(({ id, deliveryCount }) => ({ id, deliveryCount, left: deliveryCount - 1 })),
      ...handed.map(({ id, deliveryCount }) => ({ id, deliveryCount, left: deliveryCount })),
    ]
    const left = { ...this.#calls.left, conditions: take.conditions }
    return { ...settled, till, started, handed, lost: take.lost, left, isMore: take.isMore, ...this.#calls.seenPauses }
  }

  async settleAndGiveBack(slot: Slot, settlements: readonly Settlement[]): Promise<SettleResult> {
    this.#calls.roundTrips++
    const settled = settleInMemory(this.#calls, slot, settlements)
    const group = this.#calls.find()
    // what is settled with it was started, and stays so though its effects are refused
    const taken = this.#taken.filter(({ id }) => !settlements.some((one) => one.id === id))
    for (const entry of this.#calls.isLeased(slot) ? taken : [])
      if (group?.isHeldBy(slot.consumerName, entry))
        this.#calls.setAside(group, entry.id, { deliveryCount: entry.left, delayMs: -Infinity, condition: undefined })
    return settled
  }

  async peek(ids: readonly string[], field?: string): Promise<readonly (readonly Field[])[]> {
    this.#calls.roundTrips++
    return ids.map((id) => {
      const fields = this.#calls.stream.get(id)?.fields ?? []
      return field === undefined ? fields : fields.filter(([name]) => String(name) === field).slice(-1)
    })
  }

  async heal(slot: Slot): Promise<HealedPage> {
    this.#calls.roundTrips++
    const group = this.#calls.find()
    if (!group || !this.#calls.isLeased(slot)) return { isDone: true, lost: 0 }
    return { isDone: true, lost: healInMemory(this.#calls, group) }
  }

  async settleAndStart(
    slot: Slot,
    settlements: readonly Settlement[],
    claimed: readonly ClaimedEntry[],
    bounds: StartClaimedBounds = {},
  ): Promise<StartClaimedResult> {
    this.#calls.roundTrips++
    const settled = settleInMemory(this.#calls, slot, settlements)
    const counts = { ...settled.counts }
    const group = this.#calls.find()
    const isLeased = this.#calls.isLeased(slot)
    if (!isLeased || !group) {
      counts.unsettled += claimed.length
      const leaseLost = settled.leaseLost || (!isLeased && claimed.length > 0)
      return { ...settled, counts, started: [], leftAlone: [], noRoom: [], leaseLost }
    }
    const held = claimed.filter((entry) => group.isHeldBy(slot.consumerName, entry))
    const sorted = this.#sort(slot, group, held, bounds)
    for (const delivery of sorted.started) {
      this.#calls.take(group, slot, delivery)
      if (this.#calls.dueTimes.has(delivery.id))
        this.#calls.dueTimes.set(delivery.id, TAKEN_SCORE + delivery.deliveryCount)
    }
    const { leftPaused, ...others } = sorted
    const ours = sorted.started.length + sorted.leftAlone.length + sorted.noRoom.length + leftPaused.length
    counts.superseded += claimed.length - ours
    counts.lost += held.length - ours
    return { ...settled, counts, ...others, ...(leftPaused.length > 0 && { leftPaused }), ...this.#calls.seenPauses }
  }

  /** What becomes of each entry that is still ours; the trimmed ones are taken off. */
  #sort(
    slot: Slot,
    group: MemoryConsumerGroup,
    held: readonly ClaimedEntry[],
    { maxBytes = Infinity, unless, guards = [] }: StartClaimedBounds,
  ) {
    const started: Delivery[] = []
    const leftAlone: ClaimedEntry[] = []
    const noRoom: ClaimedEntry[] = []
    const leftPaused: ClaimedEntry[] = []
    let bytes = 0
    for (const claim of held) {
      const { id, deliveryCount } = claim
      const entry = this.#calls.stream.get(id)
      if (!entry) this.#calls.drop(group, id)
      else if (bytes >= maxBytes) noRoom.push(claim)
      else if (isPaused(this.#calls, entry, unless)) leftPaused.push(claim)
      else if (isStartForbidden(this.#calls.server.values, entry, unless, guards)) leftAlone.push(claim)
      else {
        bytes += entryBytes(entry.fields)
        started.push({
          ...entry,
          deliveryCount: deliveryCount + 1,
          returnTo: ownerToReturnTo(claim, slot),
          isTaken: true,
        })
      }
    }
    return { started, leftAlone, noRoom, leftPaused }
  }

  async finishClaims(
    slot: Slot,
    cursor: string,
    minIdleMs: number,
    { hasAcked = false, waitsMs }: ClaimsEnd = {},
  ): Promise<ClaimerRunEnd> {
    const { keys } = this.#calls.address
    const group = this.#calls.find()
    const isLeased = this.#calls.isLeased(slot)
    const leave = () => {
      if (slot.token !== '' && isLeased) this.#calls.server.leases.delete(keys.slot(slot.consumerName))
    }
    if (!group) {
      const measured = await this.#calls.measure()
      leave()
      return { measured, lost: 0 }
    }
    if (isLeased) this.#calls.state.cursor = cursor
    if (hasAcked) this.#calls.state.acked = this.#calls.now
    const oldest = group.ids.find((id) => group.pending.get(id)?.owner !== PARKED_CONSUMER)
    this.#calls.state.mark = oldest === undefined ? group.lastDeliveredId : entryIdBefore(oldest)
    if (this.#calls.state.healing === undefined)
      for (const [id, score] of this.#calls.dueTimes)
        if (score >= TAKEN_SCORE && !group.pending.has(id)) this.#calls.dueTimes.delete(id)
    const lost = takeOffTrimmedInMemory(this.#calls, group)
    const measured = await this.#calls.measure()
    removeConsumersInMemory(this.#calls, group, minIdleMs)
    leave()
    const { dueInMs } = this.#calls.left
    if (waitsMs !== undefined)
      this.#calls.planNextClaim(dueInMs !== undefined && dueInMs <= waitsMs ? dueInMs : undefined)
    return { measured, lost, ...(dueInMs !== undefined && { dueInMs }) }
  }

  /** Stale entries of each name, from a place on, those trimmed meanwhile taken off, and where the next page starts. */
  #page(
    group: MemoryConsumerGroup,
    from: string,
    minIdleMs: number,
    room: number,
  ): { claimed: ClaimedEntry[]; lost: number; after: string } {
    const claimed: ClaimedEntry[] = this.#calls.takeSuspects(group, room)
    let lost = 0
    const all = group.ids.map((id) => ({ id, from: { owner: (group.pending.get(id) as StoredPendingEntry).owner } }))
    const ahead = all
      .filter((entry) => entry.from.owner !== PARKED_CONSUMER && compareLapCursors(formatLapCursor(entry), from) > 0)
      .sort((a, b) => compareLapCursors(formatLapCursor(a), formatLapCursor(b)))
    for (const entry of ahead) {
      const { owner, deliveredAt, deliveryCount } = group.pending.get(entry.id) as StoredPendingEntry
      const idleMs = this.#calls.now - deliveredAt
      if (idleMs < minIdleMs || !this.#calls.mayClaim(owner, entry.id)) continue
      if (this.#calls.isDoubted({ owner, deliveredAt, deliveryCount }))
        this.#calls.setAside(group, entry.id, { deliveryCount: 0, delayMs: 0, condition: undefined })
      else if (!this.#calls.stream.get(entry.id)) {
        this.#calls.drop(group, entry.id)
        lost++
      } else claimed.push({ id: entry.id, deliveryCount, from: { owner, idleMs } })
      if (claimed.length >= room) return { claimed, lost, after: formatLapCursor(entry) }
    }
    return { claimed, lost, after: '0-0' }
  }
}
