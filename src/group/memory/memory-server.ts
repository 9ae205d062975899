import type { Clock } from '../../clock.ts'
import { clampDeliveryCount } from '../../core/delivery-count.ts'
import type { Entry, Field } from '../../core/entry.ts'
import { compareEntryIds, entryIdAfter } from '../../core/entry.ts'
import type { StreamTrim, WakeFlag } from '../connection.ts'
import type { HeldEntry, PreviousOwner } from '../delivery.ts'
import { HIGHEST_ENTRY_ID } from '../redis/scripts/fence.ts'
import { MemoryDelays } from './memory-delays.ts'
import { MemoryMarkers } from './memory-markers.ts'
import { MemoryValues } from './memory-values.ts'

/** A pending entry: whose it is, since when, and how often it was delivered. */
export interface StoredPendingEntry {
  readonly owner: string
  /** Milliseconds since 1970. */
  readonly deliveredAt: number
  readonly deliveryCount: number
}

/** A group as a server keeps it. */
export class MemoryConsumerGroup {
  lastDeliveredId: string
  readonly pending = new Map<string, StoredPendingEntry>()
  /** When each consumer name was last used. */
  readonly consumers = new Map<string, number>()

  constructor(lastDeliveredId: string) {
    this.lastDeliveredId = lastDeliveredId
  }

  /** Makes an entry pending under a consumer name, or hands it to another one. */
  hand(
    id: string,
    { owner, idleMs = 0 }: Partial<PreviousOwner> & Pick<PreviousOwner, 'owner'>,
    deliveryCount: number,
    nowMs: number,
  ): void {
    this.pending.set(id, { owner, deliveredAt: nowMs - idleMs, deliveryCount: clampDeliveryCount(deliveryCount) })
    this.consumers.set(owner, nowMs)
  }

  /** What is pending, in the order of ids. */
  get rows(): [id: string, pending: StoredPendingEntry][] {
    return [...this.pending].sort(([a], [b]) => compareEntryIds(a, b))
  }

  /** Ids of what is pending, in order. */
  get ids(): string[] {
    return this.rows.map(([id]) => id)
  }

  /** Whether an entry is still pending under that name with that count. */
  isHeldBy(consumerName: string, { id, deliveryCount }: HeldEntry): boolean {
    const pending = this.pending.get(id)
    return pending?.owner === consumerName && pending.deliveryCount === deliveryCount
  }
}

/** Where the claimer goes on, and where a lost group is made again. */
export interface StoredClaimerState {
  cursor?: string
  mark?: string
  /** Milliseconds since 1970. */
  acked?: number
  /** Dead letters that were ever trimmed. */
  lettersTrimmed?: number
  /** The mark of a group that was made again and has yet to get back what was set aside. */
  healing?: string
  /** When a poller of that name gave its slot back with a read in doubt, in milliseconds since 1970. */
  doubts?: Record<string, number>
  /** The highest id that was pending under a name when a poller took it, by its token. */
  before?: Record<string, { readonly token: string; readonly id: string }>
  /** The last hand-back of a name's holder. */
  handedBack?: Record<string, { readonly token: string; readonly turn: number }>
}

/** Lanes as `redis/order/lanes.ts` keeps them. */
export interface StoredLanes {
  /** Lane → its first member; behind `#` the entry of a dead letter that it waits for. */
  readonly firsts: Map<string, string>
  /** Entry id → its lane, and whether its process died. */
  readonly members: Map<string, { readonly lane: string; readonly isSuspect: boolean }>
  /** Entry ids that were taken at their last delivery, which is counted once they start. */
  readonly handed: Set<string>
  /** Lane → entry id → the dead letter that the lane waits for. */
  readonly awaited: Map<string, Map<string, string>>
  /** Entry id → what a member failed with last. */
  readonly errors: Map<string, string>
  /** How far these were searched for. */
  lookedFor?: string
}

/** What a Redis server keeps of streams and their consumers, under the same keys. */
export class MemoryServer {
  readonly clock: Clock
  readonly streams = new Map<string, MemoryStream>()
  readonly leases = new Map<string, { readonly token: string; readonly until: number }>()
  /** Flags of publishers: key → milliseconds since 1970 at which they end. */
  readonly flags = new Map<string, number>()
  /** Hashes. */
  readonly states = new Map<string, StoredClaimerState>()
  /** Sorted sets of what comes back at a time: entry id → score, as on a server. */
  readonly dueTimes = new Map<string, Map<string, number>>()
  /** Sorted sets of what waits: condition → entry id → delivery count. */
  readonly waiting = new Map<string, Map<string, Map<string, number>>>()
  /** Lanes of groups that keep order, by the key of their state. */
  readonly #lanes = new Map<string, StoredLanes>()
  /** Strings that say what is paused, as on a server. */
  readonly pauses = new Map<string, string>()
  /** When a claimer comes next, in milliseconds since 1970. */
  readonly plans = new Map<string, number>()
  /** Markers of event ids, by stream. */
  readonly markers: MemoryMarkers
  /** Entry ids of each aggregate's events, by the key of its versions. */
  readonly aggregates = new Map<string, string[]>()
  /** Delayed events by stream. */
  readonly delays: MemoryDelays
  /** The last answer that passed gates, by state and consumer name. */
  readonly gateAnswers = new Map<string, { readonly nonce: string; readonly text: string }>()
  /** Keys of policies. */
  readonly values: MemoryValues

  constructor(clock: Clock) {
    this.clock = clock
    this.values = new MemoryValues(this)
    this.markers = new MemoryMarkers(clock)
    this.delays = new MemoryDelays(this)
  }

  // like a command that writes, each of these makes the key if it is missing
  stream(key: string): MemoryStream {
    return made(this.streams, key, () => new MemoryStream())
  }

  state(key: string): StoredClaimerState {
    return made(this.states, key, () => ({}))
  }

  due(key: string): Map<string, number> {
    return made(this.dueTimes, key, () => new Map())
  }

  waits(key: string): Map<string, Map<string, number>> {
    return made(this.waiting, key, () => new Map())
  }

  lanes(key: string): StoredLanes {
    return made(this.#lanes, key, () => ({
      firsts: new Map(),
      members: new Map(),
      handed: new Set(),
      awaited: new Map(),
      errors: new Map(),
    }))
  }

  /** Sets a flag, unless it is set. @returns Whether it was not. */
  raise({ key, windowMs }: WakeFlag): boolean {
    const now = this.clock.now()
    if ((this.flags.get(key) ?? 0) > now) return false
    this.flags.set(key, now + windowMs)
    return true
  }

  /** Takes a flag back. @returns Whether it was set. */
  lower(key: string): boolean {
    const isSet = (this.flags.get(key) ?? 0) > this.clock.now()
    this.flags.delete(key)
    return isSet
  }

  /** The token of a lease that has not ended. */
  holder(key: string): string | undefined {
    const lease = this.leases.get(key)
    return lease && lease.until > this.clock.now() ? lease.token : undefined
  }
}

export class MemoryStream {
  lastId = '0-0'
  readonly groups = new Map<string, MemoryConsumerGroup>()
  /** Called back when an entry was added. */
  readonly waiting = new Set<() => void>()
  /** In the order of ids. */
  readonly #entries: Entry[] = []

  get entries(): readonly Entry[] {
    return this.#entries
  }

  /** Appends an entry under that id, or under the next one at that time. The fields are copied. */
  add(fields: readonly Field[], nowMs: number, id = this.#nextId(nowMs)): string {
    this.#entries.push({ id, fields: fields.map(([name, value]) => [Buffer.from(name), Buffer.from(value)]) })
    this.lastId = id
    for (const wake of this.waiting) wake()
    return id
  }

  get(id: string): Entry | undefined {
    const entry = this.#entries[this.#indexOf(id)]
    return entry?.id === id ? entry : undefined
  }

  after(id: string, count: number): Entry[] {
    if (id === HIGHEST_ENTRY_ID) return []
    const from = this.#indexOf(entryIdAfter(id))
    return this.#entries.slice(from, from + count)
  }

  remove(id: string): void {
    if (this.get(id)) this.#entries.splice(this.#indexOf(id), 1)
  }

  /** Removes the oldest entries; always exactly. @param now By the server's clock. @returns How many. */
  trim(trim: StreamTrim, now: number): number {
    const { length } = this.#entries
    if (trim.kind === 'age')
      this.#entries.splice(0, this.#indexOf(`${Math.max(0, Math.floor(now - trim.retentionMs))}`))
    if (trim.kind === 'length') this.#entries.splice(0, Math.max(0, length - trim.maxLength))
    return length - this.#entries.length
  }

  /** Removes the entries up to an id, it included. @returns How many. */
  trimUpTo(id: string): number {
    return this.#entries.splice(0, this.#indexOf(entryIdAfter(id))).length
  }

  /** Where the first entry is that has this id or a later one. */
  #indexOf(id: string): number {
    let [low, high] = [0, this.#entries.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (compareEntryIds((this.#entries[middle] as Entry).id, id) < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  #nextId(nowMs: number): string {
    const id = `${Math.floor(nowMs)}-0`
    return compareEntryIds(id, this.lastId) > 0 ? id : entryIdAfter(this.lastId)
  }
}

function made<T>(map: Map<string, T>, key: string, make: () => T): T {
  const found = map.get(key) ?? make()
  map.set(key, found)
  return found
}
