import type { ModelTime } from './model-time.ts'
import type { Process } from './process.ts'
import type { OrderServer, SeenLetter, Sight } from './server.ts'
import type { Kind, Setting } from './setting.ts'

/** From when on what was redriven has its place for all. */
const KNOWN_AFTER_MS = 100

interface KnownEntry {
  readonly id: string
  readonly key: string | undefined
  readonly kind: Kind
  readonly type: string
  readonly version: number
  readonly eventId: string
  readonly publishedAt: number
  /** Calls in this life, or since it was redriven. */
  calls: number
  lastCount: number
  successes: number
  /** Letters that it may have: one a life, and one more each time it was redriven and failed anew. */
  mostLetters: number
  wasRedriven: boolean
  /** A batch handler saw it behind what failed of its key, at no delivery. */
  wasFollower: boolean
  /** Letters of it that were dropped. */
  dropped: number
  /** Its letter was written without order. */
  lettersBefore: boolean
  isRemoved: boolean
  /** Its lane may be of a key that is none any more. */
  isOfOldKey: boolean
  /** Who decided it last. */
  decidedBy: Process | undefined
}

/** Knows what was published, and what must hold whenever a handler starts. */
export class Oracle {
  /** Nothing was done that may cost a delivery. */
  isCalm = true
  /** Lives that the group has lost. */
  life = 0
  readonly violated: (text: string) => void
  readonly #entries = new Map<string, KnownEntry>()
  readonly #server: OrderServer
  readonly #setting: Setting
  readonly #processes: readonly Process[]
  readonly #time: ModelTime
  #keyIn = (key: string | undefined): string | undefined => key
  /** Redriven, and no run can know of it yet. */
  readonly #unplaced = new Map<string, number>()
  #latest = new Map<string, { id: string; by: Process }>()

  constructor(
    server: OrderServer,
    setting: Setting,
    processes: readonly Process[],
    time: ModelTime,
    violated: (text: string) => void,
  ) {
    this.#server = server
    this.#setting = setting
    this.#processes = processes
    this.#time = time
    this.violated = violated
  }

  keyOf(id: string): string | undefined {
    return this.#keyIn(this.#entries.get(id)?.key)
  }

  published(id: string, key: string | undefined, kind: Kind, type: string, version: number, eventId: string): void {
    this.#entries.set(id, {
      id,
      key,
      kind,
      type,
      version,
      eventId,
      wasFollower: false,
      dropped: 0,
      lettersBefore: false,
      publishedAt: this.#time.nowMs,
      calls: 0,
      lastCount: 0,
      successes: 0,
      mostLetters: 1,
      wasRedriven: false,
      isRemoved: false,
      isOfOldKey: false,
      decidedBy: undefined,
    })
  }

  redriven(ids: readonly string[]): void {
    for (const id of ids) {
      const entry = this.#entries.get(id) as KnownEntry
      entry.wasRedriven = true
      entry.calls = entry.lastCount = 0
      entry.decidedBy = undefined
      this.#unplaced.set(id, Infinity)
      for (const process of this.#processes) process.decided.delete(id)
    }
    this.#latest.clear()
  }

  groupLost(): void {
    this.life++
    this.isCalm = false
    this.#latest.clear()
    for (const entry of this.#entries.values()) {
      entry.calls = entry.lastCount = 0
      entry.mostLetters++
      entry.decidedBy = undefined
    }
  }

  removed(ids: readonly string[]): void {
    for (const id of ids) {
      const entry = this.#entries.get(id)
      if (entry) entry.isRemoved = true
    }
  }

  keysChanged(keyIn: (key: string | undefined) => string | undefined): void {
    this.#keyIn = keyIn
    this.#latest.clear()
    for (const entry of this.#entries.values()) entry.isOfOldKey = true
  }

  ended(id: string, isDone: boolean): void {
    const entry = this.#entries.get(id)
    if (entry && isDone) entry.successes++
  }

  /** It comes again at the count that it had. */
  followed(id: string): void {
    const entry = this.#entries.get(id)
    if (entry) entry.wasFollower = true
    // what failed before it comes again, and it after that
    this.#latest.delete(this.keyOf(id) ?? '')
  }

  /** These letters are gone. */
  dropped(letters: readonly SeenLetter[]): void {
    for (const { entryId } of letters) {
      const entry = this.#entries.get(entryId)
      if (entry) entry.dropped++
    }
  }

  /** What was written without order, or by another key, holds nothing. */
  async orderTurned(): Promise<void> {
    for (const { entryId } of await this.#server.letters()) {
      const entry = this.#entries.get(entryId)
      if (entry) entry.lettersBefore = true
    }
  }

  /** A handler starts. */
  async started(process: Process, id: string, count: number): Promise<void> {
    await this.batchStarted(process, [{ entryId: id, deliveryCount: count }])
  }

  /** A handler of many starts: they stand in the order of their keys. */
  async batchStarted(
    process: Process,
    events: readonly { readonly entryId: string; readonly deliveryCount: number }[],
  ): Promise<void> {
    const sight = await this.#server.look()
    if (this.#unplaced.size > 0) await this.#notePlaced()
    const together = new Set(events.map(({ entryId }) => entryId))
    const before = new Set<string>()
    for (const { entryId, deliveryCount } of events) {
      this.#starts(process, entryId, deliveryCount, sight, together, before)
      before.add(entryId)
    }
    if (this.#setting.afterDeadLetter === 'wait') await this.#pastLetters(process, events, sight)
  }

  /** Keys that wait for letters do not go past one that is there. */
  async #pastLetters(
    process: Process,
    events: readonly { readonly entryId: string; readonly deliveryCount: number }[],
    sight: Sight,
  ): Promise<void> {
    const letters = new Set((await this.#server.letters()).map(({ entryId }) => entryId))
    for (const { entryId, deliveryCount } of events) {
      const entry = this.#entries.get(entryId)
      const key = this.keyOf(entryId)
      if (!entry || entry.isOfOldKey || entry.wasRedriven || key === undefined || !process.isOrdered) continue
      if (this.life > 0 || !holds(process, entryId, deliveryCount, sight)) continue
      for (const id of letters) {
        const other = this.#entries.get(id)
        const isOfKey = other && !other.isOfOldKey && !other.lettersBefore && this.keyOf(id) === key
        if (isOfKey && isBelow(id, entryId))
          this.violated(`went past: ${process.name} starts ${entryId} before the letter of ${id}`)
      }
    }
  }

  #starts(
    process: Process,
    id: string,
    count: number,
    sight: Sight,
    together: ReadonlySet<string>,
    earlier: ReadonlySet<string>,
  ): void {
    const entry = this.#entries.get(id)
    if (!entry) {
      this.violated(`${process.name} starts ${id}, which nobody published`)
      return
    }
    const me = `${process.name} starts ${this.keyOf(id)} ${id} x${count}`
    const wasLastCount = entry.lastCount
    entry.calls++
    if (entry.kind === 'ignored' || (entry.kind === 'garbled' && process.isOrdered))
      this.violated(`${me}, which is ${entry.kind}`)
    if (!holds(process, id, count, sight)) {
      // who was frozen may start what is another's by now, and decides nothing
      const isKnowing = process.isOrdered && !process.isTroubled && process.bornIn === this.life && sight.ids.has(id)
      if (isKnowing) this.violated(`${me}, which it does not hold: ${JSON.stringify(sight.pending.get(id))}`)
      return
    }
    if (count > this.#setting.maxDeliveries) this.violated(`${me}: too many deliveries`)
    if (count <= wasLastCount && !this.#setting.hasBreaker && !entry.wasFollower)
      this.violated(`${me}: its count goes back`)
    if (this.isCalm && !this.#setting.hasBreaker && !entry.wasFollower && count !== entry.calls)
      this.violated(`${me}: called ${entry.calls} times`)
    entry.lastCount = Math.max(entry.lastCount, count)
    if (!process.isOrdered) return
    const key = this.keyOf(id)
    if (key === undefined) return
    this.#twoAtOnce(process, entry, key, me, sight, together)
    this.#overtaking(process, entry, key, me, sight, earlier)
    this.#goingBack(process, entry, key, me)
  }

  /** Who was given an entry of the key just before may start it. */
  async #notePlaced(): Promise<void> {
    const unplaced = new Set(await this.#server.unplaced([...this.#unplaced.keys()]))
    for (const [id, until] of this.#unplaced) {
      if (unplaced.has(id)) continue
      if (until === Infinity) this.#unplaced.set(id, this.#time.nowMs + KNOWN_AFTER_MS)
      else if (until < this.#time.nowMs) this.#unplaced.delete(id)
    }
  }

  #twoAtOnce(
    process: Process,
    { id, isOfOldKey }: KnownEntry,
    key: string,
    me: string,
    sight: Sight,
    together: ReadonlySet<string>,
  ): void {
    for (const other of this.#processes) {
      if (other.isDead) continue
      for (const [running, count] of other.running) {
        if (this.keyOf(running) !== key || (other === process && (running === id || together.has(running)))) continue
        if (isOfOldKey || this.#entries.get(running)?.isOfOldKey || !other.isOrdered) continue
        if (holds(other, running, count, sight) && !other.isOverdue(running))
          this.violated(`two at once: ${me} while ${other.name} runs ${running}`)
      }
    }
  }

  /** All that goes before it of its key is decided in this run, or stored. */
  #overtaking(
    process: Process,
    { id, isOfOldKey }: KnownEntry,
    key: string,
    me: string,
    sight: Sight,
    earlier: ReadonlySet<string>,
  ): void {
    if (isOfOldKey) return
    for (const [other, { owner }] of sight.pending) {
      const before = this.#entries.get(other)
      if (!before || before.isOfOldKey || this.keyOf(other) !== key || !isBelow(other, id)) continue
      if (
        process.decided.has(other) ||
        process.isOverdue(other) ||
        earlier.has(other) ||
        this.#unplaced.has(other) ||
        !sight.ids.has(other)
      )
        continue
      if (this.#isDecidedWithoutCall(before) && isOwn(process, owner, sight)) continue
      this.violated(`overtook: ${me} before ${other}, which lies under ${owner}`)
    }
  }

  /** What needs no call is decided as soon as it is read. */
  #isDecidedWithoutCall({ kind, publishedAt, eventId }: KnownEntry): boolean {
    const { maxAgeMs = Infinity } = this.#setting
    return kind === 'ignored' || this.#time.nowMs - publishedAt >= maxAgeMs || this.#wasHandled(eventId)
  }

  #wasHandled(eventId: string): boolean {
    if (!this.#setting.isOnce) return false
    return [...this.#entries.values()].some((entry) => entry.eventId === eventId && entry.successes > 0)
  }

  /** What a run has decided comes again only after something has happened to it. */
  #goingBack(process: Process, entry: KnownEntry, key: string, me: string): void {
    const { decidedBy } = entry
    if (
      decidedBy &&
      decidedBy !== process &&
      !decidedBy.isTroubled &&
      !decidedBy.isDead &&
      decidedBy.bornIn === this.life
    )
      this.violated(`went back: ${me}, which ${decidedBy.name} had decided`)
    const latest = this.#latest.get(key)
    if (entry.isOfOldKey) return
    if (latest && isBelow(entry.id, latest.id) && !latest.by.isTroubled && !latest.by.isDead && !entry.wasRedriven)
      this.violated(`went back: ${me} after ${latest.id} by ${latest.by.name}`)
    if (!latest || isBelow(latest.id, entry.id)) this.#latest.set(key, { id: entry.id, by: process })
  }

  /** All is done: what was published is handled, a dead letter, or gone. */
  async over(): Promise<void> {
    const { maxAgeMs, maxDeliveries, hasBreaker } = this.#setting
    const letters = Map.groupBy(await this.#server.letters(), ({ entryId }) => entryId)
    for (const entry of this.#entries.values()) {
      const { id, kind, calls, successes, mostLetters, wasRedriven, isRemoved } = entry
      const own = letters.get(id) ?? []
      if (own.length > mostLetters) this.violated(`${own.length} letters of ${id}`)
      if (
        this.isCalm &&
        !hasBreaker &&
        !wasRedriven &&
        !entry.wasFollower &&
        own.some(({ reason }) => reason === 'max-deliveries') &&
        calls !== maxDeliveries
      )
        this.violated(`${id} is a dead letter after ${calls} calls`)
      if (this.isCalm && own.some(({ reason }) => reason === 'crashed')) this.violated(`${id} is said to have crashed`)
      if (this.isCalm && successes > 0 && own.length > 0) this.violated(`${id} has a letter though it was handled`)
      if (this.isCalm && successes > 1) this.violated(`${id} was handled ${successes} times`)
      if (isRemoved || maxAgeMs !== undefined || kind === 'ignored' || wasRedriven) continue
      if (successes === 0 && own.length === 0 && entry.dropped === 0 && !this.#wasHandled(entry.eventId))
        this.violated(`lost: ${id}`)
    }
  }
}

/** Whether that is its lease, under a name that holds the entry with that count: it is no zombie. */
function holds(process: Process, id: string, count: number, { pending, leases, hasGroup }: Sight): boolean {
  const held = pending.get(id)
  if (!hasGroup || !held || held.count !== count) return false
  return process.tokens.has(leases.get(held.owner) ?? '')
}

function isOwn(process: Process, owner: string, { leases }: Sight): boolean {
  return process.tokens.has(leases.get(owner) ?? '')
}

function isBelow(a: string, b: string): boolean {
  const [x = [], y = []] = [a, b].map((id) => id.split('-').map(Number))
  return (x[0] as number) < (y[0] as number) || (x[0] === y[0] && (x[1] as number) < (y[1] as number))
}
