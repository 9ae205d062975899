import type { Entry } from '../../core/entry.ts'
import { compareEntryIds, entryBytes, entryIdBefore } from '../../core/entry.ts'
import { PARKED } from '../../core/keys.ts'
import { CLAIMER_SLOTS, isLeftOver } from '../consumer-names.ts'
import type {
  Claimed,
  ClaimRequest,
  ClaimResult,
  Claims,
  Delivery,
  DueRequest,
  DueResult,
  Guard,
  Measured,
  Opened,
  Settlement,
  Slot,
  StartBounds,
  StartResult,
} from '../group.ts'
import { plain } from '../redis/commands/reply.ts'
import { PAGE } from '../redis/scripts/claim-page.ts'
import type { MemoryCalls } from './memory-calls.ts'
import type { GroupState, Pending } from './memory-server.ts'
import { settle } from './memory-settling.ts'

/** The claimer's side of the group port in memory. */
export class MemoryClaims implements Claims {
  readonly #calls: MemoryCalls

  constructor(calls: MemoryCalls) {
    this.#calls = calls
  }

  async takeSlotAndClaim(leaseMs: number, request: ClaimRequest): Promise<Opened | undefined> {
    const slot = await this.#calls.takeSlot('claimer', CLAIMER_SLOTS, leaseMs)
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
    const settled = settle(this.#calls, slot, settlements)
    const answers = riders.map((rider) => plain(this.#calls.server.values.run(rider)))
    if (!this.#calls.isLeased(slot)) {
      const nothing = { from: cursor ?? '', cursor: undefined, claimed: [], lost: 0, groupRecreated: false }
      return { ...settled, ...nothing, leaseLost: true }
    }
    const { group, groupRecreated } = this.#calls.open()
    const from = cursor ?? this.#calls.state.cursor ?? '0-0'
    const { stale, lost, after } = this.#page(group, from, minIdleMs)
    const ready = stale.filter(
      ({ id, from: { owner } }) =>
        owner !== PARKED || ((this.#calls.dueTimes.get(id) ?? 0) <= this.#calls.now && !this.#calls.isIndexed(id)),
    )
    const claimed = ready.slice(0, room)
    for (const entry of claimed) this.#calls.take(group, slot, entry)
    return {
      ...settled,
      from,
      cursor: ready[room]?.id ?? after,
      claimed,
      lost,
      groupRecreated,
      ...(riders.length > 0 && { answers }),
    }
  }

  async settleAndClaimDue(
    slot: Slot,
    settlements: readonly Settlement[],
    { index, room, till = this.#calls.now, past }: DueRequest,
  ): Promise<DueResult> {
    this.#calls.roundTrips++
    const settled = settle(this.#calls, slot, settlements)
    const group = this.#calls.find()
    if (!this.#calls.isLeased(slot)) return { ...settled, till, claimed: [], lost: 0, leaseLost: true }
    const claimed: Claimed[] = []
    let lost = 0
    for (const id of group ? this.#calls.dueIn(index, till).slice(past) : []) {
      if (claimed.length === room) break
      const found = group?.pending.get(id)
      const isGone = found !== undefined && !this.#calls.stream.get(id)
      if (!found || isGone) this.#calls.server.values.run(['zrem', index, id])
      if (isGone && group) {
        this.#calls.drop(group, id)
        lost++
      } else if (found?.owner === PARKED && group) {
        const { owner, deliveryCount } = found
        const entry = { id, deliveryCount, from: { owner, idleMs: this.#calls.now - found.deliveredAt } }
        claimed.push(entry)
        this.#calls.take(group, slot, entry)
      }
    }
    return { ...settled, till, claimed, lost }
  }

  async settleAndStart(
    slot: Slot,
    settlements: readonly Settlement[],
    claimed: readonly Claimed[],
    bounds: StartBounds = {},
  ): Promise<StartResult> {
    this.#calls.roundTrips++
    const settled = settle(this.#calls, slot, settlements)
    const counts = { ...settled.counts }
    const group = this.#calls.find()
    const isLeased = this.#calls.isLeased(slot)
    if (!isLeased || !group) {
      counts.unsettled += claimed.length
      const leaseLost = settled.leaseLost || (!isLeased && claimed.length > 0)
      return { ...settled, counts, started: [], leftAlone: [], noRoom: [], leaseLost }
    }
    const held = claimed.filter((entry) => group.isHeldBy(slot.consumerName, entry))
    const sorted = this.#sort(group, held, bounds)
    for (const delivery of sorted.started) {
      this.#calls.take(group, slot, delivery)
      this.#calls.dueTimes.delete(delivery.id)
      for (const index of this.#calls.indexes) this.#calls.server.values.run(['zrem', index, delivery.id])
    }
    const ours = sorted.started.length + sorted.leftAlone.length + sorted.noRoom.length
    counts.superseded += claimed.length - ours
    counts.lost += held.length - ours
    return { ...settled, counts, ...sorted }
  }

  /** What becomes of each entry that is still ours; the trimmed ones are taken off. */
  #sort(group: GroupState, held: readonly Claimed[], { maxBytes = Infinity, unless, guards = [] }: StartBounds) {
    const started: Delivery[] = []
    const leftAlone: Claimed[] = []
    const noRoom: Claimed[] = []
    let bytes = 0
    for (const claim of held) {
      const { id, deliveryCount, from } = claim
      const entry = this.#calls.stream.get(id)
      if (!entry) this.#calls.drop(group, id)
      else if (bytes >= maxBytes) noRoom.push(claim)
      else if (isLeftAlone(entry, unless) || this.#isGuarded(entry, unless, guards)) leftAlone.push(claim)
      else {
        bytes += entryBytes(entry.fields)
        started.push({ ...entry, deliveryCount: deliveryCount + 1, returnTo: from })
      }
    }
    return { started, leftAlone, noRoom }
  }

  async finishClaims(slot: Slot, cursor: string, minIdleMs: number, hasAcked = false): Promise<Measured | undefined> {
    const { keys, settings } = this.#calls.address
    const group = this.#calls.find()
    const measured = await this.#calls.measure()
    if (!group) {
      if (this.#calls.isLeased(slot)) this.#calls.server.leases.delete(keys.slot(slot.consumerName))
      return undefined
    }
    const [oldest] = group.pending.keys()
    if (this.#calls.isLeased(slot)) this.#calls.state.cursor = cursor
    if (hasAcked) this.#calls.state.acked = this.#calls.now
    this.#calls.state.mark = oldest === undefined ? group.lastDeliveredId : entryIdBefore(oldest)
    for (const [id, dueAt] of this.#calls.dueTimes)
      if (dueAt <= this.#calls.now || !group.pending.has(id)) this.#calls.dueTimes.delete(id)
    const owners = new Set([...group.pending.values()].map(({ owner }) => owner))
    for (const [consumerName, usedAt] of group.consumers) {
      const isIdle = this.#calls.now - usedAt >= minIdleMs && !owners.has(consumerName)
      const isHeld = this.#calls.server.holder(keys.slot(consumerName)) !== undefined
      if (isIdle && !isHeld && isLeftOver(consumerName, settings.maxPollers)) group.consumers.delete(consumerName)
    }
    if (slot.token !== '' && this.#calls.isLeased(slot)) this.#calls.server.leases.delete(keys.slot(slot.consumerName))
    return measured
  }

  /** Stale entries from an id on, those trimmed meanwhile taken off, and where the next page starts. */
  #page(group: GroupState, from: string, minIdleMs: number): { stale: Claimed[]; lost: number; after: string } {
    const ids = [...group.pending.keys()].filter((id) => compareEntryIds(id, from) >= 0)
    const stale: Claimed[] = []
    let [at, lost] = [0, 0]
    for (; at < Math.min(ids.length, PAGE.looks) && stale.length + lost < PAGE.finds; at++) {
      const id = ids[at] as string
      const found = group.pending.get(id) as Pending
      const idleMs = this.#calls.now - found.deliveredAt
      if (idleMs >= minIdleMs && this.#calls.isDoubted(found))
        group.hand(id, { owner: PARKED, idleMs }, 0, this.#calls.now)
      const { owner, deliveryCount } = group.pending.get(id) as Pending
      if (!this.#calls.stream.get(id)) {
        this.#calls.drop(group, id)
        lost++
      } else if (idleMs >= minIdleMs) stale.push({ id, deliveryCount, from: { owner, idleMs } })
    }
    return { stale, lost, after: ids[at] ?? '0-0' }
  }

  #isGuarded({ fields }: Entry, unless: StartBounds['unless'], guards: readonly Guard[]): boolean {
    const values = fields.filter(([name]) => String(name) === unless?.field).map(([, value]) => String(value))
    return guards.some(({ key, holds }) => {
      if (holds === 'all') return this.#calls.server.values.typeOf(key) !== 'none'
      return values.some((value) => this.#calls.server.values.run(['sismember', key, value]) === 1)
    })
  }
}

function isLeftAlone({ fields }: Entry, unless: StartBounds['unless']): boolean {
  return fields.some(([name, value]) => unless?.field === String(name) && unless.values.includes(String(value)))
}
