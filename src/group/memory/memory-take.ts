import { formatCondition, parseCondition } from '../../core/condition.ts'
import { compareEntryIds, entryBytes } from '../../core/entry.ts'
import { PARKED_CONSUMER } from '../../core/keys.ts'
import type { ClaimedEntry } from '../delivery.ts'
import type { DeliveryFromSetAside, Slot, TakeDueRequest } from '../group.ts'
import type { MemoryGroupBase } from './memory-group-base.ts'
import { countInDueScore, dueScore, TAKEN_SCORE } from './memory-group-base.ts'
import type { MemoryConsumerGroup } from './memory-server.ts'

/** Members of an index that one call inspects, at most. */
const LOOKS = 1_000

/** What one take in memory finds, and starts: the script `take` in steps. */
export class MemoryTake {
  lost = 0
  /** What something waited for when that was inspected. */
  conditions: readonly string[]
  isMore = false
  readonly #calls: MemoryGroupBase
  readonly #group: MemoryConsumerGroup
  readonly #request: TakeDueRequest & { readonly till: number }
  /** The type of an entry or a condition that is not to be started now. */
  readonly #isClosed: (value: string) => boolean
  #found: ClaimedEntry[] = []
  /** Those of which all behind them was found, too: each with these. */
  readonly #lanes: (readonly string[])[] = []
  #looked = 0

  constructor(
    calls: MemoryGroupBase,
    group: MemoryConsumerGroup,
    request: TakeDueRequest & { readonly till: number },
    isClosed: (value: string) => boolean,
  ) {
    this.conditions = calls.left.conditions
    this.#calls = calls
    this.#group = group
    this.#request = request
    this.#isClosed = isClosed
  }

  /** @param ofLanes How many members of whole lanes may come beside their first ones; below 0 only these. */
  find(ofLanes: number): void {
    this.#find()
    if (ofLanes >= 0 && this.#request.maxDeliveries > 1) this.#follow(ofLanes)
  }

  #follow(most: number): void {
    let left = most
    this.#found = this.#found.flatMap((found) => {
      const ids = found.deliveryCount > 0 ? undefined : this.#calls.followersOf(this.#group, found.id)
      if (!ids || ids.length > left || ids.some((id) => this.#closedBy(id) !== undefined)) return [found]
      left -= ids.length
      this.#lanes.push([found.id, ...ids])
      return [found, ...ids.map((id) => ({ id, deliveryCount: 0, from: { owner: PARKED_CONSUMER, idleMs: 0 } }))]
    })
  }

  #find(): void {
    const { room, till, conditions } = this.#request
    const due = [...this.#calls.dueTimes]
      .filter(([, score]) => score < TAKEN_SCORE && score <= dueScore(till, Infinity))
      .sort(([a, x], [b, y]) => x - y || Buffer.compare(Buffer.from(a), Buffer.from(b)))
    for (const [id, score] of due) {
      if (this.#found.length >= room || this.#looked >= LOOKS) break
      if (!this.#look(id, countInDueScore(score))) this.#calls.dueTimes.delete(id)
    }
    this.conditions = this.#calls.left.conditions
    for (const [condition, ids] of this.#calls.waiting) {
      const { reason, what } = parseCondition(condition)
      const isOpen =
        (reason === 'held' && !this.#isClosed(what)) || (reason === 'paused' && !this.#calls.isPaused(what))
      const named = conditions.find((one) => (typeof one === 'string' ? one : one.condition) === condition)
      if (named === undefined && !isOpen) continue
      const { most = Infinity, after = '' } = typeof named === 'object' ? named : {}
      const left = this.#found.length + most
      const inOrder = [...ids].sort(([a], [b]) => compareEntryIds(a, b))
      const from = after === '' ? 0 : inOrder.findIndex(([id]) => compareEntryIds(id, after) > 0)
      for (const [id, count] of [...inOrder.slice(Math.max(0, from)), ...inOrder.slice(0, Math.max(0, from))]) {
        if (this.#found.length >= Math.min(room, left) || this.#looked >= LOOKS) break
        ids.delete(id)
        this.#look(id, count)
      }
      this.isMore ||= most === Infinity && ids.size > 0
    }
  }

  /** Starts what was found, but for what is at its last delivery or has none left. */
  start(slot: Slot): { readonly started: readonly DeliveryFromSetAside[]; readonly handed: readonly ClaimedEntry[] } {
    const { maxBytes = Infinity, maxDeliveries, till } = this.#request
    const started: DeliveryFromSetAside[] = []
    const handed: ClaimedEntry[] = []
    let bytes = 0
    for (const found of this.#found) {
      const { id, deliveryCount, from } = found
      const fields = this.#calls.stream.get(id)?.fields ?? []
      const isLast = deliveryCount + 1 >= maxDeliveries
      if (bytes >= maxBytes) {
        // what is behind in a lane waits there
        if (!this.#lanes.some((ids) => ids.indexOf(id) > 0)) this.#calls.dueTimes.set(id, dueScore(till, deliveryCount))
        continue
      }
      const held = isLast ? found : { id, deliveryCount: deliveryCount + 1 }
      this.#calls.take(this.#group, slot, held)
      this.#calls.dueTimes.set(id, TAKEN_SCORE + held.deliveryCount)
      if (isLast) handed.push(found)
      else {
        bytes += entryBytes(fields)
        started.push({ ...held, fields, returnTo: PARKED_CONSUMER, isTaken: true, idleMs: from.idleMs })
      }
    }
    const whole = new Set(this.#lanes.flatMap((ids) => this.#endLane(ids, started)))
    for (const [n, one] of started.entries()) if (whole.has(one.id)) started[n] = { ...one, isOfLane: true }
    const isDue = (score: number) => score < TAKEN_SCORE && score <= dueScore(till, Infinity)
    this.isMore ||= this.#looked > 0 && [...this.#calls.dueTimes.values()].some(isDue)
    return { started, handed }
  }

  /** @returns Those of a lane that has ended, as all of it was started; else what is behind its first goes back. */
  #endLane(ids: readonly string[], started: DeliveryFromSetAside[]): readonly string[] {
    const [, ...behind] = ids
    if (ids.every((id) => started.some((one) => one.id === id))) {
      this.#calls.endLane(ids)
      return ids
    }
    for (const id of behind) {
      const at = started.findIndex((one) => one.id === id)
      if (at < 0) continue
      started.splice(at, 1)
      this.#group.hand(id, { owner: PARKED_CONSUMER }, 0, this.#calls.now)
      this.#calls.dueTimes.delete(id)
    }
    return []
  }

  /** @returns Whether it is to be taken. */
  #look(id: string, count: number): boolean {
    this.#looked++
    if (this.#found.some((found) => found.id === id)) return true // it may wait for several conditions
    const { stream, state, now } = this.#calls
    const group = this.#group
    const { healing } = state
    if (!group.pending.has(id) && healing !== undefined && compareEntryIds(id, healing) <= 0 && stream.get(id))
      group.hand(id, { owner: PARKED_CONSUMER }, count, now)
    const pending = group.pending.get(id)
    if (pending?.owner !== PARKED_CONSUMER) return false
    const entry = stream.get(id)
    if (!entry) {
      this.#calls.drop(group, id)
      this.lost++
      return false
    }
    if (!this.#calls.mayTake(group, id)) return false
    const { deliveryCount, deliveredAt } = pending
    const condition = this.#closedBy(id)
    if (condition !== undefined) {
      this.#calls.setAside(group, id, { deliveryCount, delayMs: 0, condition })
      return false
    }
    this.#found.push({ id, deliveryCount, from: { owner: PARKED_CONSUMER, idleMs: now - deliveredAt } })
    return true
  }

  /** What an entry waits for whose type is not to be started now. */
  #closedBy(id: string): string | undefined {
    const fields = this.#calls.stream.get(id)?.fields ?? []
    const type = fields.find(([name]) => String(name) === this.#request.unless?.field)?.[1]
    const reason = type === undefined ? undefined : this.#refusalOf(String(type))
    return reason && formatCondition(reason, String(type))
  }

  /** Why entries of a type are not to be started now, if they are not. */
  #refusalOf(type: string): 'paused' | 'held' | undefined {
    if (this.#calls.isPaused(type)) return 'paused'
    return this.#isClosed(type) ? 'held' : undefined
  }
}
