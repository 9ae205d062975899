import { deadLetterHead } from '../../core/dead-letter/dead-letter.ts'
import type { Entry, Field } from '../../core/entry.ts'
import { compareEntryIds, entryBytes, entryIdBefore } from '../../core/entry.ts'
import { PARKED } from '../../core/keys.ts'
import type { DeadLetterFacts, JoinedCommand } from '../../core/outcome.ts'
import type { PlainReply } from '../../core/plain-reply.ts'
import { CLAIMER_SLOTS, isLeftOver, slotNames } from '../consumer-names.ts'
import type {
  Claimed,
  ClaimRequest,
  ClaimResult,
  Claims,
  Delivery,
  DueRequest,
  DueResult,
  Group,
  GroupAddress,
  Guard,
  HeldEntry,
  Measured,
  Opened,
  ReadRequest,
  ReadResult,
  RenewResult,
  RunEnd,
  Settlement,
  SettleResult,
  Slot,
  SlotKind,
  StartBounds,
  StartResult,
} from '../group.ts'
import { plain } from '../redis/commands/reply.ts'
import { PAGE } from '../redis/scripts/claim-page.ts'
import { HELD_FLAG_MS } from '../redis/scripts/read-bounded.ts'
import { MAX_PAIRS, SETTLED } from '../redis/scripts/settle.ts'
import { moveOf, Tally } from '../tally.ts'
import type { MemoryServer, MemoryStream, Pending, State } from './memory-server.ts'
import { GroupState } from './memory-server.ts'

/** The group port in memory. Each method does at once what the command or script of the same name does on a server. */
export class MemoryGroup implements Group, Claims {
  roundTrips = 0
  readonly #address: GroupAddress
  readonly #server: MemoryServer
  readonly #lived: Set<string>

  constructor(address: GroupAddress, server: MemoryServer, lived: Set<string>) {
    this.#address = address
    this.#server = server
    this.#lived = lived
  }

  async takeSlot(kind: SlotKind, slots: number, leaseMs: number): Promise<Slot | undefined> {
    this.roundTrips++
    const names = slotNames(kind, slots)
    const consumerName = names.find((name) => this.#server.holder(this.#address.keys.slot(name)) === undefined)
    if (consumerName === undefined) return undefined
    const slot = { consumerName, token: crypto.randomUUID(), leaseMs: Math.ceil(leaseMs) }
    const until = this.#now + slot.leaseMs
    this.#server.leases.set(this.#address.keys.slot(consumerName), { token: slot.token, until })
    if (kind === 'poller') {
      this.#server.lower(this.#address.keys.wake)
      this.#releaseDoubted(slot)
    }
    return slot
  }

  async giveSlot(slot: Slot, end?: RunEnd): Promise<boolean> {
    if (slot.token === '') return false
    this.roundTrips++
    if (!this.#isLeased(slot)) return false
    if (end) this.#handBack(slot, end.known)
    this.#server.leases.delete(this.#address.keys.slot(slot.consumerName))
    if (end?.hasAcked) this.#state.acked = this.#now
    if (end?.isInDoubt) this.#state.doubts = { ...this.#state.doubts, [slot.consumerName]: this.#now }
    return end?.takesFlag === true && this.#server.lower(this.#address.keys.wake)
  }

  async settle(slot: Slot, settlements: readonly Settlement[], known?: readonly string[]): Promise<SettleResult> {
    const handsBack = known !== undefined && slot.token !== ''
    if (settlements.length > 0 || handsBack) this.roundTrips++
    const settled = this.#settle(slot, settlements)
    if (handsBack && this.#isLeased(slot)) this.#handBack(slot, [...known, ...settlements.map(({ id }) => id)])
    return settled
  }

  async settleAndRead(
    slot: Slot,
    settlements: readonly Settlement[],
    { count, maxPending = Infinity, ifEmpty = 'keep', riders = [] }: ReadRequest,
  ): Promise<ReadResult> {
    this.roundTrips++
    const settled = this.#settle(slot, settlements)
    const { group, groupRecreated } = this.#open()
    const holder = this.#server.holder(this.#address.keys.slot(slot.consumerName))
    const answers = riders.map((rider) => plain(this.#server.values.run(rider)))
    const told = { groupRecreated, ...(riders.length > 0 && { answers }) }
    const nothing = { ...settled, entries: [], pendingLimitReached: false, hasEnded: false, ...told }
    const leaseLost = holder !== undefined && holder !== slot.token
    if (leaseLost && maxPending !== Infinity) return { ...nothing, leaseLost }
    if (group.pending.size > maxPending) {
      this.#server.flags.set(this.#address.keys.wake, this.#now + HELD_FLAG_MS)
      return { ...nothing, pendingLimitReached: true }
    }
    const returnTo = { owner: PARKED, idleMs: this.#address.settings.minIdleMs }
    const entries = this.#stream.after(group.lastDeliveredId, count).map(({ id, fields }): Delivery => {
      group.lastDeliveredId = id
      this.#take(group, slot, { id, deliveryCount: 1 })
      return { id, fields, deliveryCount: 1, returnTo }
    })
    group.consumers.set(slot.consumerName, this.#now)
    // as a plain XREADGROUP, which asks nobody whose the name is
    if (leaseLost) return { ...nothing, leaseLost }
    if (entries.length > 0 || ifEmpty === 'keep' || maxPending === Infinity || holder === undefined)
      return { ...nothing, entries }
    if (ifEmpty === 'giveWithFlag') this.#server.lower(this.#address.keys.wake)
    this.#handBack(slot, [])
    this.#server.leases.delete(this.#address.keys.slot(slot.consumerName))
    return { ...nothing, hasEnded: true }
  }

  async takeSlotAndClaim(leaseMs: number, request: ClaimRequest): Promise<Opened | undefined> {
    const slot = await this.takeSlot('claimer', CLAIMER_SLOTS, leaseMs)
    if (!slot) return undefined
    this.roundTrips--
    return { slot, page: await this.settleAndClaim(slot, [], request) }
  }

  async settleAndClaim(
    slot: Slot,
    settlements: readonly Settlement[],
    { minIdleMs, cursor, room, riders = [] }: ClaimRequest,
  ): Promise<ClaimResult> {
    this.roundTrips++
    const settled = this.#settle(slot, settlements)
    const answers = riders.map((rider) => plain(this.#server.values.run(rider)))
    if (!this.#isLeased(slot)) {
      const nothing = { from: cursor ?? '', cursor: undefined, claimed: [], lost: 0, groupRecreated: false }
      return { ...settled, ...nothing, leaseLost: true }
    }
    const { group, groupRecreated } = this.#open()
    const from = cursor ?? this.#state.cursor ?? '0-0'
    const { stale, lost, after } = this.#page(group, from, minIdleMs)
    const ready = stale.filter(
      ({ id, from: { owner } }) =>
        owner !== PARKED || ((this.#dueTimes.get(id) ?? 0) <= this.#now && !this.#isIndexed(id)),
    )
    const claimed = ready.slice(0, room)
    for (const entry of claimed) this.#take(group, slot, entry)
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
    { index, room, till = this.#now, past }: DueRequest,
  ): Promise<DueResult> {
    this.roundTrips++
    const settled = this.#settle(slot, settlements)
    const group = this.#find()
    if (!this.#isLeased(slot)) return { ...settled, till, claimed: [], lost: 0, leaseLost: true }
    const claimed: Claimed[] = []
    let lost = 0
    for (const id of group ? this.#dueIn(index, till).slice(past) : []) {
      if (claimed.length === room) break
      const found = group?.pending.get(id)
      const isGone = found !== undefined && !this.#stream.get(id)
      if (!found || isGone) this.#server.values.run(['zrem', index, id])
      if (isGone && group) {
        this.#drop(group, id)
        lost++
      } else if (found?.owner === PARKED && group) {
        const { owner, deliveryCount } = found
        const entry = { id, deliveryCount, from: { owner, idleMs: this.#now - found.deliveredAt } }
        claimed.push(entry)
        this.#take(group, slot, entry)
      }
    }
    return { ...settled, till, claimed, lost }
  }

  async settleAndStart(
    slot: Slot,
    settlements: readonly Settlement[],
    claimed: readonly Claimed[],
    { maxBytes = Infinity, unless, guards = [] }: StartBounds = {},
  ): Promise<StartResult> {
    this.roundTrips++
    const settled = this.#settle(slot, settlements)
    const counts = { ...settled.counts }
    const group = this.#find()
    const isLeased = this.#isLeased(slot)
    if (!isLeased || !group) {
      counts.unsettled += claimed.length
      const leaseLost = settled.leaseLost || (!isLeased && claimed.length > 0)
      return { ...settled, counts, started: [], leftAlone: [], noRoom: [], leaseLost }
    }
    const held = claimed.filter((entry) => group.isHeldBy(slot.consumerName, entry))
    const started: Delivery[] = []
    const leftAlone: Claimed[] = []
    const noRoom: Claimed[] = []
    let bytes = 0
    for (const claim of held) {
      const { id, deliveryCount, from } = claim
      const entry = this.#stream.get(id)
      if (!entry) this.#drop(group, id)
      else if (bytes >= maxBytes) noRoom.push(claim)
      else if (isLeftAlone(entry, unless) || this.#isGuarded(entry, unless, guards)) leftAlone.push(claim)
      else {
        bytes += entryBytes(entry.fields)
        started.push({ ...entry, deliveryCount: deliveryCount + 1, returnTo: from })
      }
    }
    for (const delivery of started) {
      this.#take(group, slot, delivery)
      this.#dueTimes.delete(delivery.id)
      for (const index of this.#indexes) this.#server.values.run(['zrem', index, delivery.id])
    }
    const ours = started.length + leftAlone.length + noRoom.length
    counts.superseded += claimed.length - ours
    counts.lost += held.length - ours
    return { ...settled, counts, started, leftAlone, noRoom }
  }

  async renew(slot: Slot, held: readonly HeldEntry[]): Promise<RenewResult> {
    this.roundTrips++
    const group = this.#find()
    if (!this.#isLeased(slot)) return { lost: 0, leaseLost: true }
    for (const entry of held) if (group?.isHeldBy(slot.consumerName, entry)) this.#take(group, slot, entry)
    return { lost: 0, leaseLost: false } // a trimmed entry stays pending here until it is settled, which counts it
  }

  async ask(commands: readonly JoinedCommand[]): Promise<readonly PlainReply[]> {
    if (commands.length > 0) this.roundTrips++
    return commands.map((command) => plain(this.#server.values.run(command)))
  }

  async measure(): Promise<Measured | undefined> {
    this.roundTrips++
    const { keys, settings } = this.#address
    const group = this.#find()
    if (!group) return undefined
    const { entries } = this.#stream
    const [oldest] = group.pending.keys()
    const oldestMs = oldest === undefined ? 0 : this.#now - Number.parseInt(oldest, 10)
    const leases = slotNames('poller', settings.maxPollers).map((name) => keys.slot(name))
    const backlog = {
      pending: group.pending.size,
      ...(oldestMs >= 0 && { oldestPendingMs: oldestMs }),
      lag: this.#stream.after(group.lastDeliveredId, entries.length).length,
      streamLength: entries.length,
      deadLetters: this.#server.streams.get(keys.deadLetters)?.entries.length ?? 0,
      ...(this.#state.acked !== undefined && { sinceLastSuccessMs: this.#now - this.#state.acked }),
    }
    return { backlog, pollers: leases.filter((lease) => this.#server.holder(lease) !== undefined).length }
  }

  async finishClaims(slot: Slot, cursor: string, minIdleMs: number, hasAcked = false): Promise<Measured | undefined> {
    const { keys, settings } = this.#address
    const group = this.#find()
    const measured = await this.measure()
    if (!group) {
      if (this.#isLeased(slot)) this.#server.leases.delete(keys.slot(slot.consumerName))
      return undefined
    }
    const [oldest] = group.pending.keys()
    if (this.#isLeased(slot)) this.#state.cursor = cursor
    if (hasAcked) this.#state.acked = this.#now
    this.#state.mark = oldest === undefined ? group.lastDeliveredId : entryIdBefore(oldest)
    for (const [id, dueAt] of this.#dueTimes)
      if (dueAt <= this.#now || !group.pending.has(id)) this.#dueTimes.delete(id)
    const owners = new Set([...group.pending.values()].map(({ owner }) => owner))
    for (const [consumerName, usedAt] of group.consumers) {
      const isIdle = this.#now - usedAt >= minIdleMs && !owners.has(consumerName)
      const isHeld = this.#server.holder(keys.slot(consumerName)) !== undefined
      if (isIdle && !isHeld && isLeftOver(consumerName, settings.maxPollers)) group.consumers.delete(consumerName)
    }
    if (slot.token !== '' && this.#isLeased(slot)) this.#server.leases.delete(keys.slot(slot.consumerName))
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
      const idleMs = this.#now - found.deliveredAt
      if (idleMs >= minIdleMs && this.#isDoubted(found)) group.hand(id, { owner: PARKED, idleMs }, 0, this.#now)
      const { owner, deliveryCount } = group.pending.get(id) as Pending
      if (!this.#stream.get(id)) {
        this.#drop(group, id)
        lost++
      } else if (idleMs >= minIdleMs) stale.push({ id, deliveryCount, from: { owner, idleMs } })
    }
    return { stale, lost, after: ids[at] ?? '0-0' }
  }

  /** Releases what was read under our lease and never reached us, which is what we do not know of. */
  #handBack(slot: Slot, known: readonly string[]): void {
    const { until = 0 } = this.#server.leases.get(this.#address.keys.slot(slot.consumerName)) ?? {}
    const takenAt = until - slot.leaseMs
    this.#releaseReads(slot, ({ deliveredAt }, id) => deliveredAt >= takenAt && !known.includes(id))
  }

  /** Releases what a read in doubt brought under a name that nobody held, before it has a holder again. */
  #releaseDoubted(slot: Slot): void {
    this.#releaseReads(slot, (pending) => this.#isDoubted(pending))
    delete this.#state.doubts?.[slot.consumerName]
  }

  #releaseReads({ consumerName }: Slot, isNobodys: (pending: Pending, id: string) => boolean): void {
    const group = this.#find()
    for (const [id, pending] of group?.pending ?? [])
      if (pending.owner === consumerName && pending.deliveryCount === 1 && isNobodys(pending, id))
        group?.hand(id, { owner: PARKED, idleMs: 0 }, 0, this.#now)
  }

  /** Whether an entry was read once under a name that had been given back in doubt. */
  #isDoubted({ owner, deliveredAt, deliveryCount }: Pending): boolean {
    const since = this.#state.doubts?.[owner]
    return since !== undefined && deliveryCount === 1 && deliveredAt > since
  }

  #isGuarded({ fields }: Entry, unless: StartBounds['unless'], guards: readonly Guard[]): boolean {
    const values = fields.filter(([name]) => String(name) === unless?.field).map(([, value]) => String(value))
    return guards.some(({ key, holds }) => {
      if (holds === 'all') return this.#server.values.typeOf(key) !== 'none'
      return values.some((value) => this.#server.values.run(['sismember', key, value]) === 1)
    })
  }

  #settle(slot: Slot, settlements: readonly Settlement[]): SettleResult {
    const tally = new Tally()
    const group = this.#find()
    for (const settlement of settlements) {
      const { id, outcome } = settlement
      if (outcome.kind === 'ack') tally.acked(1, group && this.#drop(group, id) ? 1 : 0)
      else if (outcome.kind === 'ignore') {
        if (group) this.#drop(group, id)
        tally.ignored(1)
      } else if (!this.#isLeased(slot)) tally.settled(settlement, SETTLED.leaseLost)
      else if (!group) tally.counts.unsettled++
      else if (!isOurs(group, slot, settlement)) tally.settled(settlement, SETTLED.superseded)
      else if (outcome.kind === 'ack-with') tally.settled(settlement, this.#join(group, settlement, outcome.commands))
      else if (!this.#stream.get(id)) {
        this.#drop(group, id)
        tally.settled(settlement, SETTLED.lost)
      } else {
        if (outcome.kind === 'dead-letter')
          tally.counts.deadLettersTrimmed += this.#bury(group, slot, settlement, outcome.letter)
        else this.#move(group, settlement)
        tally.settled(settlement, SETTLED.done)
      }
    }
    return tally.result()
  }

  #move(group: GroupState, { id, deliveryCount, outcome }: Settlement): void {
    const move = moveOf(outcome, deliveryCount, this.#address.settings.minIdleMs)
    group.hand(id, move, move.deliveryCount, this.#now)
    if (outcome.kind === 'park' && outcome.index !== undefined)
      this.#server.values.run(['zadd', outcome.index, this.#now + outcome.delayMs, id])
    else if (move.delayMs === undefined) this.#dueTimes.delete(id)
    else this.#dueTimes.set(id, this.#now + move.delayMs)
  }

  /** @returns A number of SETTLED, or the refusal's text. */
  #join(group: GroupState, { id, deliveryCount }: Settlement, commands: readonly JoinedCommand[]): number | string {
    const refusal = commands.map((command) => this.#server.values.refusalOf(command)).find((text) => text !== undefined)
    if (refusal !== undefined) {
      group.hand(id, { owner: PARKED, idleMs: 0 }, deliveryCount, this.#now)
      return refusal
    }
    for (const command of commands) this.#server.values.run(command)
    this.#drop(group, id)
    return SETTLED.done
  }

  /** @returns How many older dead letters were trimmed away. */
  #bury(group: GroupState, { consumerName }: Slot, { id, deliveryCount }: HeldEntry, letter: DeadLetterFacts): number {
    const { stream, group: name, keys, settings } = this.#address
    const fields = this.#stream.get(id)?.fields ?? []
    const head = deadLetterHead({ stream, group: name, consumerName, entryId: id, deliveryCount }, letter)
    const pairs = Array.from({ length: head.length / 2 }, (_, n): Field => [head[2 * n] ?? '', head[2 * n + 1] ?? ''])
    const body = fields.length > MAX_PAIRS ? [['packed', pack(fields)] as const] : fields
    const letters = this.#server.stream(keys.deadLetters)
    letters.add([...pairs, ['fieldCount', String(fields.length)], ...body], this.#now)
    this.#drop(group, id)
    return letters.trim({ kind: 'length', maxLength: settings.maxDeadLetters, exact: true }, this.#now)
  }

  #take(group: GroupState, { consumerName }: Slot, { id, deliveryCount }: HeldEntry): void {
    group.hand(id, { owner: consumerName, idleMs: 0 }, deliveryCount, this.#now)
  }

  /** @returns Whether it was pending. */
  #drop(group: GroupState, id: string): boolean {
    this.#dueTimes.delete(id)
    return group.pending.delete(id)
  }

  /** The group, made if it is missing: at its mark if it lived before, where a new one starts if it did not. */
  #open(): { group: GroupState; groupRecreated: boolean } {
    const { group: name, settings } = this.#address
    const key = JSON.stringify([this.#address.stream, name])
    const found = this.#find()
    const { mark } = this.#state
    const lived = this.#lived.has(key) || mark !== undefined
    this.#lived.add(key)
    if (found) return { group: found, groupRecreated: false }
    const { lastId } = this.#stream
    const kept = mark !== undefined && compareEntryIds(mark, lastId) <= 0 ? mark : '0'
    const from = lived ? kept : settings.startAt === '$' ? lastId : settings.startAt
    const group = new GroupState(from)
    this.#stream.groups.set(name, group)
    delete this.#state.cursor
    this.#state.mark = from
    this.#dueTimes.clear()
    for (const index of this.#indexes) this.#server.values.run(['del', index])
    return { group, groupRecreated: lived }
  }

  #find(): GroupState | undefined {
    return this.#server.streams.get(this.#address.stream)?.groups.get(this.#address.group)
  }

  #isLeased({ consumerName, token }: Slot): boolean {
    return token === '' || this.#server.holder(this.#address.keys.slot(consumerName)) === token
  }

  #dueIn(index: string, till: number): readonly string[] {
    const ids = this.#server.values.run(['zrangebyscore', index, '-inf', till])
    return Array.isArray(ids) ? ids.map(String) : []
  }

  #isIndexed(id: string): boolean {
    return this.#indexes.some((index) => this.#dueIn(index, Infinity).includes(id))
  }

  get #indexes(): readonly string[] {
    return this.#address.indexes ?? []
  }

  get #now(): number {
    return this.#server.clock.now()
  }

  get #stream(): MemoryStream {
    return this.#server.stream(this.#address.stream)
  }

  get #state(): State {
    return this.#server.state(this.#address.keys.state)
  }

  get #dueTimes(): Map<string, number> {
    return this.#server.due(this.#address.keys.due)
  }
}

function isLeftAlone({ fields }: Entry, unless: StartBounds['unless']): boolean {
  return fields.some(([name, value]) => unless?.field === String(name) && unless.values.includes(String(value)))
}

/** Whether an entry is under our name with the count that we know of, or one more where its start was not answered. */
function isOurs(group: GroupState, { consumerName }: Slot, { id, deliveryCount, outcome }: Settlement): boolean {
  if (group.isHeldBy(consumerName, { id, deliveryCount })) return true
  const mayHaveStarted = outcome.kind === 'release' && outcome.mayHaveStarted === true
  return mayHaveStarted && group.isHeldBy(consumerName, { id, deliveryCount: deliveryCount + 1 })
}

/** Names and values in turn, each as its length in bytes, a colon, and itself. */
function pack(fields: readonly Field[]): Buffer {
  return Buffer.concat(
    fields.flat().flatMap((bytes) => [Buffer.from(`${Buffer.byteLength(bytes)}:`), Buffer.from(bytes)]),
  )
}
