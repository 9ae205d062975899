import { COUNTS } from '../../core/due-score.ts'
import type { Field } from '../../core/entry.ts'
import { compareEntryIds } from '../../core/entry.ts'
import { PARKED_CONSUMER } from '../../core/keys.ts'
import { isInEffect, parsePauses, WHOLE_GROUP } from '../../core/pauses.ts'
import { slotConsumerNames } from '../consumer-names.ts'
import type { ClaimedEntry, HeldEntry } from '../delivery.ts'
import type {
  GroupAddress,
  GroupMeasurement,
  SeenDelays,
  SeenPauses,
  SetAsideSummary,
  Settlement,
  Slot,
  SlotKind,
} from '../group.ts'
import { seenPauses } from '../seen-pauses.ts'
import type { ReturnToPending } from '../tally.ts'
import type { MemoryServer, MemoryStream, StoredClaimerState, StoredPendingEntry } from './memory-server.ts'
import { MemoryConsumerGroup } from './memory-server.ts'

/** The score of what was taken, without its count: above every time. */
export const TAKEN_SCORE = 9e15

/** A place in the sorted set of due times. */
export function dueScore(ms: number, count: number): number {
  return ms * COUNTS + Math.min(count, COUNTS - 1)
}

/** The count in a score. */
export function countInDueScore(score: number): number {
  return score >= TAKEN_SCORE ? score - TAKEN_SCORE : score % COUNTS
}

/** What both sides of a group in memory do with its server. */
export class MemoryGroupBase {
  roundTrips = 0
  readonly address: GroupAddress
  readonly server: MemoryServer
  readonly #lived: Set<string>

  constructor(address: GroupAddress, server: MemoryServer, lived: Set<string>) {
    this.address = address
    this.server = server
    this.#lived = lived
  }

  async takeSlot(kind: SlotKind, slots: number, leaseMs: number): Promise<Slot | undefined> {
    this.roundTrips++
    const names = slotConsumerNames(kind, slots)
    const consumerName = names.find((name) => this.server.holder(this.address.keys.slot(name)) === undefined)
    if (consumerName === undefined) return undefined
    const slot = {
      consumerName,
      token: crypto.randomUUID(),
      leaseMs: Math.ceil(leaseMs),
      ...(this.address.asksTime && { takenAt: this.now }),
      ...this.seenPauses,
      ...this.seenDelays,
    }
    const until = this.now + slot.leaseMs
    this.server.leases.set(this.address.keys.slot(consumerName), { token: slot.token, until })
    if (kind === 'poller') {
      if (!this.isAllPaused) this.server.lower(this.address.keys.wake)
      this.#releaseDoubted(slot)
      this.#noteBefore(slot)
    }
    return slot
  }

  async measure(): Promise<GroupMeasurement | undefined> {
    this.roundTrips++
    const { keys, settings } = this.address
    const group = this.find()
    if (!group) return undefined
    const { entries } = this.stream
    const [oldest] = group.ids
    const oldestMs = oldest === undefined ? 0 : this.now - Number.parseInt(oldest, 10)
    const leases = slotConsumerNames('poller', settings.maxPollers).map((name) => keys.slot(name))
    const backlog = {
      pending: group.pending.size,
      parked: [...group.pending.values()].filter(({ owner }) => owner === PARKED_CONSUMER).length,
      ...(oldestMs >= 0 && { oldestPendingMs: oldestMs }),
      lag: this.stream.after(group.lastDeliveredId, entries.length).length,
      streamLength: entries.length,
      deadLetters: this.server.streams.get(keys.deadLetters)?.entries.length ?? 0,
      ...(this.state.acked !== undefined && { sinceLastSuccessMs: this.now - this.state.acked }),
    }
    return { backlog, pollers: leases.filter((lease) => this.server.holder(lease) !== undefined).length }
  }

  /** The group, made if it is missing: at its mark if it lived before, where a new one starts if it did not. */
  open(): { group: MemoryConsumerGroup; groupRecreated: boolean } {
    const { group: name, settings } = this.address
    const key = JSON.stringify([this.address.stream, name])
    const found = this.find()
    const { mark } = this.state
    const lived = this.#lived.has(key) || mark !== undefined
    this.#lived.add(key)
    if (found) return { group: found, groupRecreated: false }
    const from = lived ? this.#keptMark : settings.startAt === '$' ? this.stream.lastId : settings.startAt
    const group = new MemoryConsumerGroup(from)
    this.stream.groups.set(name, group)
    delete this.state.cursor
    this.state.mark = from.includes('-') ? from : `${from}-0`
    if (lived) this.state.healing = this.state.mark
    return { group, groupRecreated: lived }
  }

  /** Where a lost group is made again: the start of a stream that was lost with it. */
  get #keptMark(): string {
    const { mark } = this.state
    return mark !== undefined && compareEntryIds(mark, this.stream.lastId) <= 0 ? mark : '0'
  }

  find(): MemoryConsumerGroup | undefined {
    return this.server.streams.get(this.address.stream)?.groups.get(this.address.group)
  }

  /** Acknowledgements are refused behind the fence, too. */
  get fencesAcks(): boolean {
    return false
  }

  /** Whether what is set aside may start; what may not has another place by then. */
  mayTake(_group: MemoryConsumerGroup, _id: string): boolean {
    return true
  }

  /** What is due is taken now. */
  taking(): number {
    return -1
  }

  /** All that may start after the first of a lane; `undefined`: it is taken alone. */
  followersOf(_group: MemoryConsumerGroup, _id: string): readonly string[] | undefined {
    return undefined
  }

  /** An entry stays undone. */
  putBack(_settlement: Settlement): void {}

  /** A lane was taken whole. */
  endLane(_ids: readonly string[]): void {}

  /** Whether what is idle under a name may be claimed. */
  mayClaim(_owner: string, _id: string): boolean {
    return true
  }

  /** What a page claims before it inspects who holds what. */
  takeSuspects(_group: MemoryConsumerGroup, _room: number): ClaimedEntry[] {
    return []
  }

  isLeased({ consumerName, token }: Slot): boolean {
    return token === '' || this.server.holder(this.address.keys.slot(consumerName)) === token
  }

  take(group: MemoryConsumerGroup, { consumerName }: Slot, { id, deliveryCount }: HeldEntry): void {
    group.hand(id, { owner: consumerName, idleMs: 0 }, deliveryCount, this.now)
  }

  /** @returns Whether it was pending. */
  drop(group: MemoryConsumerGroup, id: string): boolean {
    this.dueTimes.delete(id)
    return group.pending.delete(id)
  }

  /** Fields of an entry's dead letter beside those of all. */
  letterFields(_id: string): Field[] {
    return []
  }

  /** An entry has a dead letter. */
  buried(group: MemoryConsumerGroup, id: string, _letterId: string): void {
    this.drop(group, id)
  }

  /** Whether an entry was read once under a name that had been given back in doubt. */
  isDoubted({ owner, deliveredAt, deliveryCount }: StoredPendingEntry): boolean {
    const since = this.state.doubts?.[owner]
    return since !== undefined && deliveryCount === 1 && deliveredAt > since
  }

  /** Releases what a read in doubt brought under a name that nobody held, before it has a holder again. */
  #releaseDoubted(slot: Slot): void {
    this.releaseReads(slot, 0, (pending) => this.isDoubted(pending))
    delete this.state.doubts?.[slot.consumerName]
  }

  /** Notes the highest id that is pending under the name as its holder takes it: a read under the new lease brings none up to it. */
  #noteBefore({ consumerName, token }: Slot): void {
    const rows = [...(this.find()?.pending ?? [])].filter(([, { owner }]) => owner === consumerName)
    const id = rows
      .map(([id]) => id)
      .toSorted(compareEntryIds)
      .at(-1)
    if (id !== undefined) this.state.before = { ...this.state.before, [consumerName]: { token, id } }
  }

  /** Whether an entry was pending under the slot's name already when that was taken. */
  wasBefore({ consumerName, token }: Slot, id: string): boolean {
    const noted = this.state.before?.[consumerName]
    return noted?.token === token && compareEntryIds(id, noted.id) <= 0
  }

  /** Whether a hand-back of that turn is neither late nor carried out already; notes that it is. */
  isTurn({ consumerName, token }: Slot, turn: number): boolean {
    const noted = this.state.handedBack?.[consumerName]
    if (noted?.token === token && turn <= noted.turn) return false
    this.state.handedBack = { ...this.state.handedBack, [consumerName]: { token, turn } }
    return true
  }

  /** Releases what is pending under a name since its read, where nobody has it. @param delayMs After which it comes back. */
  releaseReads(
    { consumerName }: Slot,
    delayMs: number,
    isNobodys: (pending: StoredPendingEntry, id: string) => boolean,
  ): void {
    const group = this.find()
    for (const [id, pending] of group?.pending ?? [])
      if (group && pending.owner === consumerName && pending.deliveryCount === 1 && isNobodys(pending, id))
        this.setAside(group, id, { deliveryCount: 0, delayMs, condition: undefined })
  }

  /** Hands an entry to `parked`, to come back by an index. */
  setAside(
    group: MemoryConsumerGroup,
    id: string,
    { deliveryCount, delayMs, condition }: Omit<ReturnToPending, 'owner'>,
  ): void {
    group.hand(id, { owner: PARKED_CONSUMER }, deliveryCount, this.now)
    if (condition === undefined)
      this.dueTimes.set(id, dueScore(Math.max(0, Math.floor(this.now) + Math.ceil(delayMs)), deliveryCount))
    else {
      this.dueTimes.delete(id)
      const waiting = this.server.waits(this.address.keys.waiting)
      const ids = waiting.get(condition) ?? new Map<string, number>()
      waiting.set(condition, ids.set(id, deliveryCount))
    }
  }

  /** Notes when a claimer comes next. @param dueInMs `undefined`: nobody knows. */
  planNextClaim(dueInMs: number | undefined): void {
    const { nextClaim } = this.address.keys
    if (dueInMs === undefined) this.server.plans.delete(nextClaim)
    else this.server.plans.set(nextClaim, Math.floor(this.now) + dueInMs)
  }

  /** What waits, by its condition, in order. */
  get waiting(): [condition: string, ids: Map<string, number>][] {
    const all = this.server.waits(this.address.keys.waiting)
    for (const [condition, ids] of all) if (ids.size === 0) all.delete(condition)
    return [...all].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  }

  /** What is set aside, as far as it is inspected. */
  get left(): SetAsideSummary {
    const times = [...this.dueTimes.values()].filter((score) => score < TAKEN_SCORE)
    const dueInMs = Math.max(0, Math.floor(Math.min(...times) / COUNTS) - Math.floor(this.now))
    return { ...(times.length > 0 && { dueInMs }), conditions: this.waiting.map(([condition]) => condition) }
  }

  /** What is paused, as members of an answer. */
  get seenPauses(): { readonly paused?: SeenPauses } {
    return seenPauses(this.#pauses, Math.floor(this.now))
  }

  /** When the next delayed event is due, as members of an answer, where somebody promotes. */
  get seenDelays(): { readonly delayed?: SeenDelays } {
    const nextAt = this.address.delays && this.server.delays.nextDueAt(this.address.stream)
    return nextAt === undefined ? {} : { delayed: { nextAt, now: Math.floor(this.now) } }
  }

  get isAllPaused(): boolean {
    return this.isPaused(WHOLE_GROUP)
  }

  /** Whether entries of a type are not to be started, by somebody's word. */
  isPaused(type: string): boolean {
    const pause = parsePauses(this.#pauses).get(type)
    return pause !== undefined && isInEffect(pause, this.now)
  }

  get #pauses(): string {
    return this.server.pauses.get(this.address.keys.paused) ?? ''
  }

  get now(): number {
    return this.server.clock.now()
  }

  get stream(): MemoryStream {
    return this.server.stream(this.address.stream)
  }

  get state(): StoredClaimerState {
    return this.server.state(this.address.keys.state)
  }

  get dueTimes(): Map<string, number> {
    return this.server.due(this.address.keys.due)
  }
}
