import { randomUUID } from 'node:crypto'
import { chunksOf } from '../core/chunks.ts'
import { PARKED } from '../core/keys.ts'
import { RedisReplyError } from '../errors.ts'
import type { Reply } from './clients/transport.ts'
import { get } from './commands/get.ts'
import { asText } from './commands/reply.ts'
import { parseXreadgroup, xreadgroup } from './commands/xreadgroup.ts'
import { slotNames } from './consumer-names.ts'
import type {
  Delivery,
  GroupAddress,
  Held,
  Measured,
  PollerGroup,
  ReadRequest,
  ReadResult,
  RenewResult,
  Settlement,
  SettleResult,
  Slot,
  SlotKind,
} from './group.ts'
import { CREATED, createGroup } from './scripts/create-group.ts'
import { finishReads } from './scripts/finish-reads.ts'
import { giveSlot } from './scripts/give-slot.ts'
import { measure, UNKNOWN } from './scripts/measure.ts'
import { NOT_READ, readBounded } from './scripts/read-bounded.ts'
import { renew } from './scripts/renew.ts'
import { SCRIPT_ENTRIES } from './scripts/script.ts'
import { takeSlot } from './scripts/take-slot.ts'
import type { Call, Sender } from './sender.ts'
import { isReplyError } from './sender.ts'
import { settleCalls } from './settling.ts'

/** What a group on Redis is made of. */
export interface RedisGroupParts {
  readonly address: GroupAddress
  readonly sender: Sender
  /** Groups that this process has seen alive: they are made again where they were, never where a new one starts. */
  readonly lived: Set<string>
}

/** What a poller asks of a group, on Redis, put together from commands and scripts. For a claimer, see `redis-claims.ts`. */
export class RedisGroup implements PollerGroup {
  readonly parts: RedisGroupParts

  constructor(parts: RedisGroupParts) {
    this.parts = parts
  }

  get roundTrips(): number {
    return this.parts.sender.roundTrips
  }

  async takeSlot(kind: SlotKind, slots: number, leaseMs: number): Promise<Slot | undefined> {
    const names = slotNames(kind, slots)
    const token = randomUUID()
    const keys = [this.parts.address.keys.wake, ...names.map((name) => this.parts.address.keys.slot(name))]
    const args = [token, Math.ceil(leaseMs), kind === 'poller' ? 1 : 0]
    const [reply] = await this.parts.sender.send([{ script: takeSlot, keys, args }])
    if (isReplyError(reply, 'OOM')) return { consumerName: `${kind}-${token}`, token: '', leaseMs }
    if (reply instanceof RedisReplyError) throw reply
    const consumerName = names[Number(reply)]
    return consumerName === undefined ? undefined : { consumerName, token, leaseMs: Math.ceil(leaseMs) }
  }

  async giveSlot(slot: Slot, isSettled: boolean): Promise<void> {
    if (slot.token === '') return
    const lease = this.lease(slot)
    await this.parts.sender.call(
      isSettled
        ? { script: finishReads, keys: [this.parts.address.stream, lease], args: [...this.fence(slot), slot.leaseMs] }
        : { script: giveSlot, keys: [lease], args: [slot.token] },
    )
  }

  async settle(slot: Slot, settlements: readonly Settlement[]): Promise<SettleResult> {
    const settling = settleCalls(this.parts.address, slot, settlements)
    return settling.result(settling.calls.length > 0 ? await this.parts.sender.send(settling.calls) : [])
  }

  async settleAndRead(
    slot: Slot,
    settlements: readonly Settlement[],
    { count, maxPending }: ReadRequest,
  ): Promise<ReadResult> {
    const { stream, group, settings } = this.parts.address
    const lease = this.lease(slot)
    const bounded = { script: readBounded, keys: [stream, lease], args: [...this.fence(slot), count, maxPending ?? 0] }
    const plain: Call[] = [xreadgroup(stream, group, slot.consumerName, count), get(lease)]
    const calls = maxPending === undefined ? plain : [bounded]
    const { settled, replies, healed } = await this.settleAnd(slot, settlements, calls)
    const [reply = null, holder = null] = replies
    if (reply instanceof RedisReplyError)
      return { ...settled, failures: [...settled.failures, reply], entries: [], held: false, healed }
    // what was read under a name that went to another is not ours to run: its new holder releases it
    const isTaken = reply === NOT_READ.slotLost || (holder !== null && asText(holder) !== slot.token)
    const returnTo = { owner: PARKED, idleMs: settings.minIdleMs }
    const entries = parseXreadgroup(isTaken || typeof reply === 'number' ? null : reply).map(
      ({ id, fields }): Delivery => ({ id, fields, deliveryCount: 1, returnTo }),
    )
    return { ...settled, leaseLost: settled.leaseLost || isTaken, entries, held: reply === NOT_READ.held, healed }
  }

  async renew(slot: Slot, held: readonly Held[]): Promise<RenewResult> {
    const keys = [this.parts.address.stream, this.lease(slot)]
    const replies = await this.parts.sender.send(
      chunksOf(held, SCRIPT_ENTRIES).map((chunk) => ({
        script: renew,
        keys,
        args: [...this.fence(slot), ...pairs(chunk)],
      })),
    )
    const counts = replies.map((reply) => (typeof reply === 'number' ? reply : 0))
    return { lost: counts.reduce((sum, lost) => sum + Math.max(0, lost), 0), leaseLost: counts.includes(-1) }
  }

  async measure(): Promise<Measured | undefined> {
    const { stream, group, keys, settings } = this.parts.address
    const leases = slotNames('poller', settings.slots).map((name) => keys.slot(name))
    const call = { script: measure, keys: [stream, keys.deadLetters, ...leases], args: [group] }
    const [reply = null] = await this.parts.sender.send([call])
    if (!Array.isArray(reply)) return undefined
    const [pending = 0, oldestPendingMs = 0, lag = 0, streamLength = 0, deadLetters = 0, pollers = 0] =
      reply.map(Number)
    const backlog = { pending, oldestPendingMs, streamLength, deadLetters }
    return { backlog: lag === UNKNOWN ? backlog : { ...backlog, lag }, pollers }
  }

  /** Settles and makes more calls, in one round trip. */
  protected async settleWith(slot: Slot, settlements: readonly Settlement[], calls: readonly Call[]) {
    const settling = settleCalls(this.parts.address, slot, settlements)
    const replies = await this.parts.sender.send([...settling.calls, ...calls])
    return { settled: settling.result(replies), replies: replies.slice(settling.calls.length) }
  }

  /** The same; where the first of the calls finds no group, makes it again and calls once more. */
  protected async settleAnd(slot: Slot, settlements: readonly Settlement[], calls: readonly Call[]) {
    const first = await this.settleWith(slot, settlements, calls)
    const [reply] = first.replies
    const created = isReplyError(reply, 'NOGROUP') ? await this.#create() : undefined
    if (created instanceof RedisReplyError) return { ...first, replies: [created], healed: false }
    if (created !== undefined || !(reply instanceof RedisReplyError)) this.parts.lived.add(this.#name)
    if (created === undefined) return { ...first, healed: false }
    return { ...first, replies: await this.parts.sender.send(calls), healed: created === CREATED.healed }
  }

  #create(): Promise<Reply> {
    const { stream, group, keys, settings } = this.parts.address
    const args = [group, settings.startAt, this.parts.lived.has(this.#name) ? 1 : 0]
    return this.parts.sender
      .send([{ script: createGroup, keys: [stream, keys.state, keys.due], args }])
      .then(([reply = null]) => reply)
  }

  protected fence(slot: Slot): string[] {
    return [this.parts.address.group, slot.consumerName, slot.token]
  }

  protected lease(slot: Slot): string {
    return this.parts.address.keys.slot(slot.consumerName)
  }

  get #name(): string {
    return JSON.stringify([this.parts.address.stream, this.parts.address.group])
  }
}

/** What the scripts take of entries. */
export function pairs(held: readonly Held[]): (string | number)[] {
  return held.flatMap(({ id, deliveryCount }) => [id, deliveryCount])
}
