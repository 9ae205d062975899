import { compareEntryIds } from '../../core/entry.ts'
import { PARKED_CONSUMER } from '../../core/keys.ts'
import type { GroupAddress } from '../group.ts'
import type { Ordering } from '../ordering.ts'
import { SUSPECTS_CONDITION } from '../ordering.ts'
import { awaitedIn, awaitNoMore, isAwaitedFirst } from './memory-awaited-letters.ts'
import { countInDueScore, dueScore, MemoryGroupBase, TAKEN_SCORE } from './memory-group-base.ts'
import type { MemoryConsumerGroup, MemoryServer, StoredLanes } from './memory-server.ts'

/** Lanes in memory, as `redis/order/lanes.ts` keeps them on a server. */
export class MemoryLanes extends MemoryGroupBase {
  readonly ordering: Ordering

  constructor(address: GroupAddress, server: MemoryServer, lived: Set<string>, ordering: Ordering) {
    super(address, server, lived)
    this.ordering = ordering
  }

  get lanes(): StoredLanes {
    return this.server.lanes(this.address.keys.state)
  }

  protected laneOf(id: string): string {
    return this.lanes.members.get(id)?.lane ?? this.ordering.laneOf({ id, fields: this.stream.get(id)?.fields ?? [] })
  }

  protected leave(group: MemoryConsumerGroup, id: string): void {
    const lane = this.lanes.members.get(id)?.lane
    this.noMember(id)
    if (lane !== undefined && this.lanes.firsts.get(lane) === id) this.handOn(group, lane)
  }

  protected noMember(id: string): void {
    this.lanes.members.delete(id)
    this.lanes.errors.delete(id)
  }

  /** A first member whose process died goes behind one that is to go before it. */
  protected givesWay(id: string, lane: string): boolean {
    const group = this.find()
    if (!group || this.lanes.firsts.get(lane) !== id || !this.comesBefore(group, lane, id)) return false
    const { deliveryCount = 0 } = group.pending.get(id) ?? {}
    group.hand(id, { owner: PARKED_CONSUMER }, deliveryCount, this.now)
    this.dueTimes.delete(id)
    this.lanes.members.set(id, { lane, isSuspect: true })
    this.wait(lane, id, deliveryCount)
    this.handOn(group, lane)
    return true
  }

  protected handOn(group: MemoryConsumerGroup, lane: string): void {
    const next = this.firstBehind(group, lane)
    const letter = awaitedIn(this.lanes, lane)
    if (letter !== undefined && (next === undefined || !isBelow(next, letter)))
      this.lanes.firsts.set(lane, `#${letter}`)
    else if (next === undefined) this.lanes.firsts.delete(lane)
    else this.comesFirst(group, lane, next)
  }

  protected comesFirst(group: MemoryConsumerGroup, lane: string, id: string): void {
    this.server.waits(this.address.keys.waiting).get(lane)?.delete(id)
    this.lanes.firsts.set(lane, id)
    this.toStart(id, group.pending.get(id)?.deliveryCount ?? 0)
  }

  protected toStart(id: string, count: number): void {
    if (this.lanes.members.get(id)?.isSuspect) {
      this.dueTimes.delete(id)
      this.wait(SUSPECTS_CONDITION, id, count)
    } else this.dueTimes.set(id, dueScore(Math.floor(this.now), count))
  }

  protected wait(condition: string, id: string, count: number): void {
    const waiting = this.server.waits(this.address.keys.waiting)
    waiting.set(condition, (waiting.get(condition) ?? new Map<string, number>()).set(id, count))
  }

  protected waitingFor(condition: string): [id: string, count: number][] {
    const ids = this.server.waits(this.address.keys.waiting).get(condition) ?? []
    return [...ids].sort(([a], [b]) => compareEntryIds(a, b))
  }

  /** What a lost group has not made pending again yet is made so now. */
  protected madePending(
    group: MemoryConsumerGroup,
    id: string,
    count = countInDueScore(this.dueTimes.get(id) ?? 0),
  ): boolean {
    if (group.pending.has(id)) return true
    const { healing } = this.state
    if (healing === undefined || compareEntryIds(id, healing) > 0 || !this.stream.get(id)) return false
    group.hand(id, { owner: PARKED_CONSUMER }, count, this.now)
    return true
  }

  protected firstOf(group: MemoryConsumerGroup, lane: string): string | undefined {
    const first = this.lanes.firsts.get(lane)
    if (first === undefined || isAwaitedFirst(first) || this.madePending(group, first)) return first
    this.leave(group, first)
    return this.lanes.firsts.get(lane)
  }

  protected firstBehind(group: MemoryConsumerGroup, lane: string): string | undefined {
    for (const [id, count] of this.waitingFor(lane)) {
      const isThere = this.madePending(group, id, count)
      const isMember = this.lanes.members.get(id)?.lane === lane && group.pending.get(id)?.owner === PARKED_CONSUMER
      if (isThere && isMember && this.stream.get(id)) return id
      this.server.waits(this.address.keys.waiting).get(lane)?.delete(id)
      if (isThere && isMember) group.pending.delete(id)
      if (!group.pending.has(id)) this.noMember(id)
    }
    return undefined
  }

  /** The first of a lane that an entry is to be put in, whose own letter nobody waits for any more. */
  protected firstBeside(group: MemoryConsumerGroup, lane: string, id: string): string | undefined {
    const first = this.firstOf(group, lane)
    awaitNoMore(this.lanes, lane, id)
    return first === `#${id}` ? undefined : first
  }

  /** Whether something goes before an entry of the lane: an entry behind the first, or a letter that the lane waits for. */
  protected comesBefore(group: MemoryConsumerGroup, lane: string, id: string): boolean {
    const letter = awaitedIn(this.lanes, lane)
    if (letter !== undefined && isBelow(letter, id)) return true
    const next = this.firstBehind(group, lane)
    return next !== undefined && isBelow(next, id)
  }

  /** Takes the first of a lane back behind others, unless it is under way. */
  protected yields(group: MemoryConsumerGroup, first: string, lane: string): boolean {
    if (isAwaitedFirst(first)) return true
    const pending = group.pending.get(first)
    if (pending?.owner !== PARKED_CONSUMER) return false
    const score = this.dueTimes.get(first)
    const suspects = this.server.waits(this.address.keys.waiting).get(SUSPECTS_CONDITION)
    if (score !== undefined && score < TAKEN_SCORE) this.dueTimes.delete(first)
    else if (!suspects?.delete(first)) return false
    this.wait(lane, first, pending.deliveryCount)
    return true
  }
}

/** Whether one id is below another, which may be that of a dead letter's entry. */
export function isBelow(id: string, other: string): boolean {
  return compareEntryIds(id, other.replace('#', '')) < 0
}
