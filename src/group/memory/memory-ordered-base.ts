import type { Field } from '../../core/entry.ts'
import { compareEntryIds } from '../../core/entry.ts'
import { AGING_CONSUMER, PARKED_CONSUMER } from '../../core/keys.ts'
import { CLAIMER_SLOT_COUNT, slotConsumerNames } from '../consumer-names.ts'
import type { ClaimedEntry, HeldEntry } from '../delivery.ts'
import type { GroupAddress, GroupMeasurement, SetAsideSummary, Slot } from '../group.ts'
import type { Ordering } from '../ordering.ts'
import { keyOfLane, LANES_FROM, ORDER_POLICY, SUSPECTS_CONDITION, UNPLACED_CONDITION } from '../ordering.ts'
import { POLLER_NAMES } from '../redis/order/read-in-order.ts'
import type { ReturnToPending } from '../tally.ts'
import type { AwaitedLetter } from './memory-awaited-letters.ts'
import {
  awaitedIn,
  awaitedLetters,
  awaitLetter,
  awaitNoMore,
  isAwaitedFirst,
  nextToLookFor,
} from './memory-awaited-letters.ts'
import { countInDueScore, dueScore, MemoryGroupBase, TAKEN_SCORE } from './memory-group-base.ts'
import { healInMemory } from './memory-heal.ts'
import type { MemoryConsumerGroup, MemoryServer, StoredLanes } from './memory-server.ts'

/** What both sides of a group that keeps order do with a server in memory. */
export class MemoryOrderedBase extends MemoryGroupBase {
  readonly ordering: Ordering

  constructor(address: GroupAddress, server: MemoryServer, lived: Set<string>, ordering: Ordering) {
    super(address, server, lived)
    this.ordering = ordering
  }

  /** Who hears of it. */
  onTaking: () => void = () => {}

  override taking(): void {
    this.onTaking()
  }

  override get fencesAcks(): boolean {
    return true
  }

  get lanes(): StoredLanes {
    return this.server.lanes(this.address.keys.state)
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
    if (opened.groupRecreated)
      for (const name of this.#slotNames) this.server.leases.delete(this.address.keys.slot(name))
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
    this.#leave(group, id)
    return was
  }

  override letterFields(id: string): Field[] {
    const key = keyOfLane(this.#laneOf(id))
    return key === undefined ? [] : [['orderingKey', key]]
  }

  override buried(group: MemoryConsumerGroup, id: string, letterId: string): void {
    const lane = this.#laneOf(id)
    const waits = this.ordering.waitsForLetters && keyOfLane(lane) !== undefined
    if (waits) awaitLetter(this.lanes, { lane, id, letterId })
    super.buried(group, id, letterId)
    if (!waits) return
    const first = this.lanes.firsts.get(lane)
    if (first === undefined || (isBelow(id, first) && this.#yields(group, first, lane)))
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
      if (this.lanes.firsts.get(lane) === `#${id}`) this.#handOn(group, lane)
    }
  }

  get waitsForLetters(): boolean {
    return this.ordering.waitsForLetters
  }

  override setAside(group: MemoryConsumerGroup, id: string, given: Omit<ReturnToPending, 'owner'>): void {
    const isForLane = given.condition?.startsWith(`${ORDER_POLICY} `) === true
    const move = isForLane ? { ...given, delayMs: 0, condition: undefined } : given
    const lane = this.#laneOf(id)
    const first = this.#firstBeside(group, lane, id)
    const givesWay = first === id && this.#comesBefore(group, lane, id)
    const isBehind =
      givesWay || (first !== undefined && first !== id && !(isBelow(id, first) && this.#yields(group, first, lane)))
    super.setAside(group, id, isBehind ? { ...move, delayMs: 0, condition: lane } : move)
    this.lanes.members.set(id, { lane, isSuspect: false })
    if (givesWay) this.#handOn(group, lane)
    else if (!isBehind) this.lanes.firsts.set(lane, id)
  }

  override mayTake(group: MemoryConsumerGroup, id: string): boolean {
    const member = this.lanes.members.get(id)
    if (!member) {
      this.#wait(UNPLACED_CONDITION, id, group.pending.get(id)?.deliveryCount ?? 0)
      return false
    }
    const { lane, isSuspect } = member
    const isFirst = this.lanes.firsts.get(lane) === id
    if (isFirst && !isSuspect && !this.#comesBefore(group, lane, id)) return true
    const count = group.pending.get(id)?.deliveryCount ?? 0
    this.#wait(isFirst && isSuspect ? SUSPECTS_CONDITION : lane, id, count)
    if (isFirst && !isSuspect) this.#handOn(group, lane)
    return false
  }

  override mayClaim(owner: string, id: string): boolean {
    const lane = this.lanes.members.get(id)?.lane
    if (owner.startsWith(POLLER_NAMES) || lane === undefined || this.lanes.firsts.get(lane) !== id) return false
    return !this.#givesWay(id, lane)
  }

  override takeSuspects(group: MemoryConsumerGroup, room: number): ClaimedEntry[] {
    const found: ClaimedEntry[] = []
    for (const [id] of this.#waitingFor(SUSPECTS_CONDITION)) {
      if (found.length === room) break
      this.server.waits(this.address.keys.waiting).get(SUSPECTS_CONDITION)?.delete(id)
      const pending = group.pending.get(id)
      const member = this.lanes.members.get(id)
      if (pending?.owner !== PARKED_CONSUMER || !member?.isSuspect) continue
      const { deliveryCount, deliveredAt } = pending
      if (this.#givesWay(id, member.lane)) continue
      if (this.lanes.firsts.get(member.lane) !== id) this.#wait(member.lane, id, deliveryCount)
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
    for (const [id, { owner, deliveryCount, deliveredAt }] of group.rows) {
      const isOfPoller = owner.startsWith(POLLER_NAMES)
      const lane = this.lanes.members.get(id)?.lane
      // runs without order claim more than firsts
      const isStray = owner !== PARKED_CONSUMER && lane !== undefined && this.lanes.firsts.get(lane) !== id
      if (unread?.has(id) || (!isOfPoller && lane !== undefined && !isStray)) continue
      if (!this.stream.get(id)) this.drop(group, id)
      else if (owner === PARKED_CONSUMER || owner === AGING_CONSUMER) this.#place(group, id, deliveryCount, false)
      else if (owner === slot.consumerName || !this.#isAlive(owner, deliveredAt))
        this.#inherit(group, id, deliveryCount, unread !== undefined && owner === slot.consumerName)
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
    for (const id of this.lanes.members.keys()) if (!this.#madePending(group, id)) this.drop(group, id)
    for (const [lane, id] of this.lanes.firsts) if (this.lanes.members.get(id)?.lane !== lane) this.#handOn(group, lane)
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
    const lane = this.#laneOf(id)
    this.lanes.members.set(id, { lane, isSuspect })
    const first = this.#firstBeside(group, lane, id)
    if (first === undefined || first === id || (isBelow(id, first) && this.#yields(group, first, lane))) {
      if (this.#goesBehindOthers(group, lane, id, count)) return
      this.lanes.firsts.set(lane, id)
      if (isSuspect || first === id || !this.dueTimes.has(id)) this.#toStart(id, count)
    } else {
      this.dueTimes.delete(id)
      this.#wait(lane, id, count)
    }
  }

  #goesBehindOthers(group: MemoryConsumerGroup, lane: string, id: string, count: number): boolean {
    if (!this.#comesBefore(group, lane, id)) return false
    this.dueTimes.delete(id)
    this.#wait(lane, id, count)
    this.#handOn(group, lane)
    return true
  }

  #laneOf(id: string): string {
    return this.lanes.members.get(id)?.lane ?? this.ordering.laneOf({ id, fields: this.stream.get(id)?.fields ?? [] })
  }

  #leave(group: MemoryConsumerGroup, id: string): void {
    const lane = this.lanes.members.get(id)?.lane
    this.lanes.members.delete(id)
    if (lane !== undefined && this.lanes.firsts.get(lane) === id) this.#handOn(group, lane)
  }

  /** A first member whose process died goes behind one that is to go before it. */
  #givesWay(id: string, lane: string): boolean {
    const group = this.find()
    if (!group || this.lanes.firsts.get(lane) !== id || !this.#comesBefore(group, lane, id)) return false
    const { deliveryCount = 0 } = group.pending.get(id) ?? {}
    group.hand(id, { owner: PARKED_CONSUMER }, deliveryCount, this.now)
    this.dueTimes.delete(id)
    this.lanes.members.set(id, { lane, isSuspect: true })
    this.#wait(lane, id, deliveryCount)
    this.#handOn(group, lane)
    return true
  }

  #handOn(group: MemoryConsumerGroup, lane: string): void {
    const next = this.#firstBehind(group, lane)
    const letter = awaitedIn(this.lanes, lane)
    if (letter !== undefined && (next === undefined || !isBelow(next, letter)))
      this.lanes.firsts.set(lane, `#${letter}`)
    else if (next === undefined) this.lanes.firsts.delete(lane)
    else this.#comesFirst(group, lane, next)
  }

  #comesFirst(group: MemoryConsumerGroup, lane: string, id: string): void {
    this.server.waits(this.address.keys.waiting).get(lane)?.delete(id)
    this.lanes.firsts.set(lane, id)
    this.#toStart(id, group.pending.get(id)?.deliveryCount ?? 0)
  }

  #toStart(id: string, count: number): void {
    if (this.lanes.members.get(id)?.isSuspect) {
      this.dueTimes.delete(id)
      this.#wait(SUSPECTS_CONDITION, id, count)
    } else this.dueTimes.set(id, dueScore(Math.floor(this.now), count))
  }

  #wait(condition: string, id: string, count: number): void {
    const waiting = this.server.waits(this.address.keys.waiting)
    waiting.set(condition, (waiting.get(condition) ?? new Map<string, number>()).set(id, count))
  }

  #waitingFor(condition: string): [id: string, count: number][] {
    const ids = this.server.waits(this.address.keys.waiting).get(condition) ?? []
    return [...ids].sort(([a], [b]) => compareEntryIds(a, b))
  }

  /** What a lost group has not made pending again yet is made so now. */
  #madePending(group: MemoryConsumerGroup, id: string, count = countInDueScore(this.dueTimes.get(id) ?? 0)): boolean {
    if (group.pending.has(id)) return true
    const { healing } = this.state
    if (healing === undefined || compareEntryIds(id, healing) > 0 || !this.stream.get(id)) return false
    group.hand(id, { owner: PARKED_CONSUMER }, count, this.now)
    return true
  }

  #firstOf(group: MemoryConsumerGroup, lane: string): string | undefined {
    const first = this.lanes.firsts.get(lane)
    if (first === undefined || isAwaitedFirst(first) || this.#madePending(group, first)) return first
    this.#leave(group, first)
    return this.lanes.firsts.get(lane)
  }

  #firstBehind(group: MemoryConsumerGroup, lane: string): string | undefined {
    for (const [id, count] of this.#waitingFor(lane)) {
      const isThere = this.#madePending(group, id, count)
      const isMember = this.lanes.members.get(id)?.lane === lane && group.pending.get(id)?.owner === PARKED_CONSUMER
      if (isThere && isMember && this.stream.get(id)) return id
      this.server.waits(this.address.keys.waiting).get(lane)?.delete(id)
      if (isThere && isMember) group.pending.delete(id)
      if (!group.pending.has(id)) this.lanes.members.delete(id)
    }
    return undefined
  }

  /** The first of a lane that an entry is to be put in, whose own letter nobody waits for any more. */
  #firstBeside(group: MemoryConsumerGroup, lane: string, id: string): string | undefined {
    const first = this.#firstOf(group, lane)
    awaitNoMore(this.lanes, lane, id)
    return first === `#${id}` ? undefined : first
  }

  /** Whether something goes before an entry of the lane: an entry behind the first, or a letter that the lane waits for. */
  #comesBefore(group: MemoryConsumerGroup, lane: string, id: string): boolean {
    const letter = awaitedIn(this.lanes, lane)
    if (letter !== undefined && isBelow(letter, id)) return true
    const next = this.#firstBehind(group, lane)
    return next !== undefined && isBelow(next, id)
  }

  /** Takes the first of a lane back behind others, unless it is under way. */
  #yields(group: MemoryConsumerGroup, first: string, lane: string): boolean {
    if (isAwaitedFirst(first)) return true
    const pending = group.pending.get(first)
    if (pending?.owner !== PARKED_CONSUMER) return false
    const score = this.dueTimes.get(first)
    const suspects = this.server.waits(this.address.keys.waiting).get(SUSPECTS_CONDITION)
    if (score !== undefined && score < TAKEN_SCORE) this.dueTimes.delete(first)
    else if (!suspects?.delete(first)) return false
    this.#wait(lane, first, pending.deliveryCount)
    return true
  }
}

/** Whether one id is below another, which may be that of a dead letter's entry. */
function isBelow(id: string, other: string): boolean {
  return compareEntryIds(id, other.replace('#', '')) < 0
}
