import type { Field } from '../../core/entry.ts'
import { AGING_CONSUMER, PARKED_CONSUMER } from '../../core/keys.ts'
import { CLAIMER_SLOT_COUNT, slotConsumerNames } from '../consumer-names.ts'
import type { ClaimedEntry, HeldEntry } from '../delivery.ts'
import type { GroupMeasurement, SetAsideSummary, Settlement, Slot } from '../group.ts'
import { lastErrorOf } from '../last-error.ts'
import { keyOfLane, LANES_FROM, ORDER_POLICY, SUSPECTS_CONDITION, UNPLACED_CONDITION } from '../ordering.ts'
import { POLLER_NAMES } from '../redis/order/read-in-order.ts'
import type { ReturnToPending } from '../tally.ts'
import type { AwaitedLetter } from './memory-awaited-letters.ts'
import { awaitedLetters, awaitLetter, awaitNoMore, nextToLookFor } from './memory-awaited-letters.ts'
import { TAKEN_SCORE } from './memory-group-base.ts'
import { healInMemory } from './memory-heal.ts'
import { isBelow, MemoryLanes } from './memory-lanes.ts'
import type { MemoryConsumerGroup } from './memory-server.ts'
import { followersInMemory } from './memory-whole-lanes.ts'

/** What both sides of a group that keeps order do with a server in memory. */
export class MemoryOrderedBase extends MemoryLanes {
  /** Who hears of it, and says how many members of whole lanes may come beside their first ones. */
  onTaking: () => number = () => -1

  override taking(): number {
    return this.onTaking()
  }

  override followersOf(group: MemoryConsumerGroup, id: string): readonly string[] | undefined {
    return followersInMemory(this.lanes, group, this.stream, this.waitingFor(this.laneOf(id)), id)
  }

  override endLane(ids: readonly string[]): void {
    const lane = this.laneOf(ids[0] ?? '')
    this.lanes.firsts.delete(lane)
    for (const id of ids) {
      this.server.waits(this.address.keys.waiting).get(lane)?.delete(id)
      this.noMember(id)
    }
  }

  override get fencesAcks(): boolean {
    return true
  }

  /** Waiting in order is no condition that anybody has to inspect. */
  override get left(): SetAsideSummary {
    const { conditions, ...left } = super.left
    return { ...left, conditions: conditions.filter((condition) => !condition.startsWith(`${ORDER_POLICY} `)) }
  }

  override async measure(): Promise<GroupMeasurement | undefined> {
    const measured = await super.measure()
    if (!measured) return undefined
    const lanes = [...this.server.waits(this.address.keys.waiting)].filter(([name]) => name.startsWith(LANES_FROM))
    const waiting = lanes.reduce((sum, [, ids]) => sum + ids.size, 0)
    return { ...measured, backlog: { ...measured.backlog, waiting } }
  }

  override open(): { group: MemoryConsumerGroup; groupRecreated: boolean } {
    const opened = super.open()
    if (opened.groupRecreated) {
      for (const name of this.#slotNames) this.server.leases.delete(this.address.keys.slot(name))
      this.lanes.errors.clear()
    }
    return opened
  }

  get #slotNames(): readonly string[] {
    return [
      ...slotConsumerNames('poller', this.address.settings.maxPollers),
      ...slotConsumerNames('claimer', CLAIMER_SLOT_COUNT),
    ]
  }

  override take(group: MemoryConsumerGroup, slot: Slot, held: HeldEntry): void {
    super.take(group, slot, held)
    // what is handed over at its last delivery is not counted
    if ('from' in held) this.lanes.handed.add(held.id)
    else this.lanes.handed.delete(held.id)
  }

  override drop(group: MemoryConsumerGroup, id: string): boolean {
    const was = super.drop(group, id)
    this.leave(group, id)
    return was
  }

  override letterFields(id: string): Field[] {
    const key = keyOfLane(this.laneOf(id))
    return key === undefined ? [] : [['orderingKey', key]]
  }

  override buried(group: MemoryConsumerGroup, id: string, letterId: string): void {
    const lane = this.laneOf(id)
    const waits = this.ordering.waitsForLetters && keyOfLane(lane) !== undefined
    if (waits) awaitLetter(this.lanes, { lane, id, letterId })
    super.buried(group, id, letterId)
    if (!waits) return
    const first = this.lanes.firsts.get(lane)
    if (first === undefined || (isBelow(id, first) && this.yields(group, first, lane)))
      this.lanes.firsts.set(lane, `#${id}`)
  }

  /** Has the lanes go on whose letters are gone, as many as one call searches for. @returns How many are gone. */
  lookForLetters(group: MemoryConsumerGroup): number {
    const letters = this.server.streams.get(this.address.keys.deadLetters)
    const gone = nextToLookFor(this.lanes).filter(({ letterId }) => !letters?.get(letterId))
    this.#waitNoMore(group, gone)
    return gone.length
  }

  /** Has all lanes go on that wait for a letter. */
  waitNoMore(group: MemoryConsumerGroup): void {
    this.#waitNoMore(group, awaitedLetters(this.lanes))
  }

  #waitNoMore(group: MemoryConsumerGroup, letters: readonly AwaitedLetter[]): void {
    for (const { lane, id } of letters) {
      awaitNoMore(this.lanes, lane, id)
      if (this.lanes.firsts.get(lane) === `#${id}`) this.handOn(group, lane)
    }
  }

  get waitsForLetters(): boolean {
    return this.ordering.waitsForLetters
  }

  override setAside(group: MemoryConsumerGroup, id: string, given: Omit<ReturnToPending, 'owner'>): void {
    const isForLane = given.condition?.startsWith(`${ORDER_POLICY} `) === true
    const move = isForLane ? { ...given, delayMs: 0, condition: undefined } : given
    const lane = this.laneOf(id)
    const first = this.firstBeside(group, lane, id)
    const givesWay = first === id && this.comesBefore(group, lane, id)
    const isBehind =
      givesWay || (first !== undefined && first !== id && !(isBelow(id, first) && this.yields(group, first, lane)))
    super.setAside(group, id, isBehind ? { ...move, delayMs: 0, condition: lane } : move)
    this.lanes.members.set(id, { lane, isSuspect: false })
    if (givesWay) this.handOn(group, lane)
    else if (!isBehind) this.lanes.firsts.set(lane, id)
  }

  override putBack(settlement: Settlement): void {
    const { id } = settlement
    const error = lastErrorOf(settlement)
    if (error === undefined || !this.lanes.members.has(id)) return
    if (error === '') this.lanes.errors.delete(id)
    else this.lanes.errors.set(id, error)
  }

  override mayTake(group: MemoryConsumerGroup, id: string): boolean {
    const member = this.lanes.members.get(id)
    if (!member) {
      this.wait(UNPLACED_CONDITION, id, group.pending.get(id)?.deliveryCount ?? 0)
      return false
    }
    const { lane, isSuspect } = member
    const isFirst = this.lanes.firsts.get(lane) === id
    if (isFirst && !isSuspect && !this.comesBefore(group, lane, id)) return true
    const count = group.pending.get(id)?.deliveryCount ?? 0
    this.wait(isFirst && isSuspect ? SUSPECTS_CONDITION : lane, id, count)
    if (isFirst && !isSuspect) this.handOn(group, lane)
    return false
  }

  override mayClaim(owner: string, id: string): boolean {
    const lane = this.lanes.members.get(id)?.lane
    if (owner.startsWith(POLLER_NAMES) || lane === undefined || this.lanes.firsts.get(lane) !== id) return false
    return !this.givesWay(id, lane)
  }

  override takeSuspects(group: MemoryConsumerGroup, room: number): ClaimedEntry[] {
    const found: ClaimedEntry[] = []
    for (const [id] of this.waitingFor(SUSPECTS_CONDITION)) {
      if (found.length === room) break
      this.server.waits(this.address.keys.waiting).get(SUSPECTS_CONDITION)?.delete(id)
      const pending = group.pending.get(id)
      const member = this.lanes.members.get(id)
      if (pending?.owner !== PARKED_CONSUMER || !member?.isSuspect) continue
      const { deliveryCount, deliveredAt } = pending
      if (this.givesWay(id, member.lane)) continue
      if (this.lanes.firsts.get(member.lane) !== id) this.wait(member.lane, id, deliveryCount)
      else if (this.stream.get(id)) {
        this.dueTimes.set(id, TAKEN_SCORE + deliveryCount)
        found.push({ id, deliveryCount, from: { owner: `${POLLER_NAMES}0`, idleMs: this.now - deliveredAt } })
      } else this.drop(group, id)
    }
    return found
  }

  /** Makes members of all that is pending and has no lane. @returns Whether all has one by then. */
  placeAll(group: MemoryConsumerGroup, slot: Slot, unread: ReadonlySet<string> | undefined): boolean {
    if (!unread) healInMemory(this, group)
    this.server.waits(this.address.keys.waiting).delete(UNPLACED_CONDITION)
    // lanes of what a living run holds: nothing behind that may start
    const held = new Set<string>()
    for (const [id, { owner, deliveryCount, deliveredAt }] of group.rows) {
      const isOfPoller = owner.startsWith(POLLER_NAMES)
      const lane = this.lanes.members.get(id)?.lane
      // runs without order claim more than firsts
      const isStray = owner !== PARKED_CONSUMER && lane !== undefined && this.lanes.firsts.get(lane) !== id
      if (unread?.has(id) || (!isOfPoller && lane !== undefined && !isStray)) continue
      if (!this.stream.get(id)) this.drop(group, id)
      else if (held.has(this.laneOf(id))) continue
      else if (owner === PARKED_CONSUMER || owner === AGING_CONSUMER) this.#place(group, id, deliveryCount, false)
      else if (owner === slot.consumerName || !this.#isAlive(owner, deliveredAt))
        this.#inherit(group, id, deliveryCount, unread !== undefined && owner === slot.consumerName)
      else held.add(this.laneOf(id))
    }
    if (unread) return true
    this.#sweep(group)
    return group.pending.size === this.lanes.members.size
  }

  /** Sets aside what a dead process held; or what a read brought that never reached its run, with its delivery given back. */
  #inherit(group: MemoryConsumerGroup, id: string, deliveryCount: number, isUnread: boolean): void {
    const count = deliveryCount - Number(isUnread && !this.lanes.handed.has(id))
    group.hand(id, { owner: PARKED_CONSUMER }, count, this.now)
    this.dueTimes.delete(id)
    this.#place(group, id, count, !isUnread && count > 0)
  }

  /** Takes members off that are pending no more. */
  #sweep(group: MemoryConsumerGroup): void {
    for (const id of this.lanes.members.keys()) if (!this.madePending(group, id)) this.drop(group, id)
    for (const [lane, id] of this.lanes.firsts) if (this.lanes.members.get(id)?.lane !== lane) this.handOn(group, lane)
    // runs without order give back what waits
    for (const [id, { lane, isSuspect }] of this.lanes.members) {
      const { owner, deliveryCount = 0 } = group.pending.get(id) ?? {}
      const isBehind = this.server.waits(this.address.keys.waiting).get(lane)?.has(id)
      if (owner === PARKED_CONSUMER && this.lanes.firsts.get(lane) !== id && !isBehind)
        this.#place(group, id, deliveryCount, isSuspect)
    }
  }

  #isAlive(owner: string, deliveredAt: number): boolean {
    if (this.#slotNames.includes(owner)) return this.server.holder(this.address.keys.slot(owner)) !== undefined
    return this.now - deliveredAt < this.address.settings.minIdleMs
  }

  #place(group: MemoryConsumerGroup, id: string, count: number, isSuspect: boolean): void {
    const lane = this.laneOf(id)
    this.lanes.members.set(id, { lane, isSuspect })
    const first = this.firstBeside(group, lane, id)
    if (first === undefined || first === id || (isBelow(id, first) && this.yields(group, first, lane))) {
      if (this.#goesBehindOthers(group, lane, id, count)) return
      this.lanes.firsts.set(lane, id)
      if (isSuspect || first === id || !this.dueTimes.has(id)) this.toStart(id, count)
    } else {
      this.dueTimes.delete(id)
      this.wait(lane, id, count)
    }
  }

  #goesBehindOthers(group: MemoryConsumerGroup, lane: string, id: string, count: number): boolean {
    if (!this.comesBefore(group, lane, id)) return false
    this.dueTimes.delete(id)
    this.wait(lane, id, count)
    this.handOn(group, lane)
    return true
  }
}
