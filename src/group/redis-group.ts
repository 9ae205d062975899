import { randomUUID } from 'node:crypto'
import { chunksOf } from '../core/chunks.ts'
import { PARKED } from '../core/keys.ts'
import { RedisReplyError } from '../errors.ts'
import type { Reply } from './clients/transport.ts'
import { get } from './commands/get.ts'
import { asFields, asText, items } from './commands/reply.ts'
import { parseXinfoConsumers, xinfoConsumers } from './commands/xinfo-consumers.ts'
import { parseXreadgroup, xreadgroup } from './commands/xreadgroup.ts'
import { isLeftOver, slotNames } from './consumer-names.ts'
import type {
  Claimed,
  ClaimRequest,
  ClaimResult,
  Delivery,
  Group,
  GroupAddress,
  Held,
  Measured,
  ReadRequest,
  ReadResult,
  RenewResult,
  Settlement,
  SettleResult,
  Slot,
  SlotKind,
  StartResult,
} from './group.ts'
import { claimPage } from './scripts/claim-page.ts'
import { CREATED, createGroup } from './scripts/create-group.ts'
import { finishClaims } from './scripts/finish-claims.ts'
import { finishReads } from './scripts/finish-reads.ts'
import { giveSlot } from './scripts/give-slot.ts'
import { measure, UNKNOWN } from './scripts/measure.ts'
import { NOT_READ, readBounded } from './scripts/read-bounded.ts'
import { removeConsumer } from './scripts/remove-consumer.ts'
import { renew } from './scripts/renew.ts'
import { SCRIPT_ENTRIES } from './scripts/script.ts'
import { STARTED, start } from './scripts/start.ts'
import { takeSlot } from './scripts/take-slot.ts'
import type { Call, Sender } from './sender.ts'
import { isReplyError } from './sender.ts'
import { settleCalls } from './settling.ts'

/** The group port on Redis, put together from commands and scripts. */
export class RedisGroup implements Group {
  readonly #address: GroupAddress
  readonly #sender: Sender
  /** Groups that this process has seen alive: they are made again where they were, never where a new one starts. */
  readonly #lived: Set<string>

  constructor(address: GroupAddress, sender: Sender, lived: Set<string>) {
    this.#address = address
    this.#sender = sender
    this.#lived = lived
  }

  get roundTrips(): number {
    return this.#sender.roundTrips
  }

  async takeSlot(kind: SlotKind, slots: number, leaseMs: number): Promise<Slot | undefined> {
    const names = slotNames(kind, slots)
    const token = randomUUID()
    const keys = [this.#address.keys.wake, ...names.map((name) => this.#address.keys.slot(name))]
    const args = [token, Math.ceil(leaseMs), kind === 'poller' ? 1 : 0]
    const [reply] = await this.#sender.send([{ script: takeSlot, keys, args }])
    if (isReplyError(reply, 'OOM')) return { consumerName: `${kind}-${token}`, token: '', leaseMs }
    if (reply instanceof RedisReplyError) throw reply
    const consumerName = names[Number(reply)]
    return consumerName === undefined ? undefined : { consumerName, token, leaseMs: Math.ceil(leaseMs) }
  }

  async giveSlot(slot: Slot, isSettled: boolean): Promise<void> {
    if (slot.token === '') return
    const lease = this.#lease(slot)
    await this.#sender.call(
      isSettled
        ? { script: finishReads, keys: [this.#address.stream, lease], args: [...this.#fence(slot), slot.leaseMs] }
        : { script: giveSlot, keys: [lease], args: [slot.token] },
    )
  }

  async settle(slot: Slot, settlements: readonly Settlement[]): Promise<SettleResult> {
    const settling = settleCalls(this.#address, slot, settlements)
    return settling.result(settling.calls.length > 0 ? await this.#sender.send(settling.calls) : [])
  }

  async settleAndRead(
    slot: Slot,
    settlements: readonly Settlement[],
    { count, maxPending }: ReadRequest,
  ): Promise<ReadResult> {
    const { stream, group, settings } = this.#address
    const lease = this.#lease(slot)
    const bounded = { script: readBounded, keys: [stream, lease], args: [...this.#fence(slot), count, maxPending ?? 0] }
    const plain: Call[] = [xreadgroup(stream, group, slot.consumerName, count), get(lease)]
    const calls = maxPending === undefined ? plain : [bounded]
    const { settled, replies, healed } = await this.#settleAnd(slot, settlements, calls)
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

  async settleAndClaim(
    slot: Slot,
    settlements: readonly Settlement[],
    { minIdleMs, cursor = '', room }: ClaimRequest,
  ): Promise<ClaimResult> {
    const { stream, keys } = this.#address
    const call = {
      script: claimPage,
      keys: [stream, this.#lease(slot), keys.due, keys.state],
      args: [...this.#fence(slot), minIdleMs, cursor, room],
    }
    const { settled, replies, healed } = await this.#settleAnd(slot, settlements, [call])
    const [reply = null] = replies
    const nothing = { from: cursor, cursor: undefined, claimed: [], lost: 0, healed }
    if (reply instanceof RedisReplyError) return { ...settled, ...nothing, failures: [...settled.failures, reply] }
    if (!Array.isArray(reply)) return { ...settled, ...nothing, leaseLost: true }
    const [from, after, claimed, lost] = items(reply)
    return {
      ...settled,
      from: asText(from),
      cursor: asText(after),
      claimed: items(claimed).map(asClaimed),
      lost: items(lost).length,
      healed,
    }
  }

  async settleAndStart(
    slot: Slot,
    settlements: readonly Settlement[],
    claimed: readonly Claimed[],
  ): Promise<StartResult> {
    const { stream, keys } = this.#address
    const call = {
      script: start,
      keys: [stream, this.#lease(slot), keys.due],
      args: [...this.#fence(slot), ...pairs(claimed)],
    }
    const { settled, replies } = await this.#settleWith(slot, settlements, [call])
    const [reply = null] = replies
    const counts = { ...settled.counts }
    if (reply instanceof RedisReplyError) {
      counts.unsettled += claimed.length
      return {
        ...settled,
        counts,
        started: [],
        failures: reply.is('NOGROUP') ? settled.failures : [...settled.failures, reply],
      }
    }
    const started: Delivery[] = []
    let { leaseLost } = settled
    for (const [n, item] of items(reply).entries()) {
      const { id, deliveryCount, from } = claimed[n] as Claimed
      const [status, fields] = items(item)
      if (status === STARTED.yes)
        started.push({ id, fields: asFields(fields), deliveryCount: deliveryCount + 1, returnTo: from })
      else counts[status === STARTED.leaseLost ? 'unsettled' : 'superseded']++
      if (status === STARTED.lost) counts.lost++
      leaseLost ||= status === STARTED.leaseLost
    }
    return { ...settled, counts, started, leaseLost }
  }

  async renew(slot: Slot, held: readonly Held[]): Promise<RenewResult> {
    const keys = [this.#address.stream, this.#lease(slot)]
    const replies = await this.#sender.send(
      chunksOf(held, SCRIPT_ENTRIES).map((chunk) => ({
        script: renew,
        keys,
        args: [...this.#fence(slot), ...pairs(chunk)],
      })),
    )
    const counts = replies.map((reply) => (typeof reply === 'number' ? reply : 0))
    return { lost: counts.reduce((sum, lost) => sum + Math.max(0, lost), 0), leaseLost: counts.includes(-1) }
  }

  async measure(): Promise<Measured | undefined> {
    const { stream, group, keys, settings } = this.#address
    const leases = slotNames('poller', settings.slots).map((name) => keys.slot(name))
    const call = { script: measure, keys: [stream, keys.deadLetters, ...leases], args: [group] }
    const [reply = null] = await this.#sender.send([call])
    if (!Array.isArray(reply)) return undefined
    const [pending = 0, oldestPendingMs = 0, lag = 0, streamLength = 0, deadLetters = 0, pollers = 0] =
      reply.map(Number)
    const backlog = { pending, oldestPendingMs, streamLength, deadLetters }
    return { backlog: lag === UNKNOWN ? backlog : { ...backlog, lag }, pollers }
  }

  async finishClaims(slot: Slot, cursor: string, minIdleMs: number): Promise<void> {
    const { stream, group, keys } = this.#address
    const finish = {
      script: finishClaims,
      keys: [stream, this.#lease(slot), keys.due, keys.state],
      args: [...this.#fence(slot), cursor],
    }
    const [mark, consumers] = await this.#sender.send([finish, xinfoConsumers(stream, group)])
    // a group lost by now is made again by the next run; with memory full the last cursor and mark stay, and are still right
    if (isReplyError(mark, 'NOGROUP')) return
    if (mark instanceof RedisReplyError && !mark.is('OOM')) throw mark
    if (consumers instanceof RedisReplyError) throw consumers
    await this.#removeConsumers(
      parseXinfoConsumers(consumers ?? null).filter(
        (info) => info.pending === 0 && info.idleMs >= minIdleMs && isLeftOver(info.name, this.#address.settings.slots),
      ),
      minIdleMs,
    )
  }

  async #removeConsumers(consumers: readonly { name: string }[], minIdleMs: number): Promise<void> {
    if (consumers.length === 0) return
    const { stream, group, keys } = this.#address
    await this.#sender.send(
      consumers.map(({ name }) => ({
        script: removeConsumer,
        keys: [stream, keys.slot(name)],
        args: [group, name, minIdleMs],
      })),
    )
  }

  /** Settles and makes more calls, in one round trip. */
  async #settleWith(slot: Slot, settlements: readonly Settlement[], calls: readonly Call[]) {
    const settling = settleCalls(this.#address, slot, settlements)
    const replies = await this.#sender.send([...settling.calls, ...calls])
    return { settled: settling.result(replies), replies: replies.slice(settling.calls.length) }
  }

  /** The same; where the first of the calls finds no group, makes it again and calls once more. */
  async #settleAnd(slot: Slot, settlements: readonly Settlement[], calls: readonly Call[]) {
    const first = await this.#settleWith(slot, settlements, calls)
    const [reply] = first.replies
    const created = isReplyError(reply, 'NOGROUP') ? await this.#create() : undefined
    if (created instanceof RedisReplyError) return { ...first, replies: [created], healed: false }
    if (created !== undefined || !(reply instanceof RedisReplyError)) this.#lived.add(this.#name)
    if (created === undefined) return { ...first, healed: false }
    return { ...first, replies: await this.#sender.send(calls), healed: created === CREATED.healed }
  }

  #create(): Promise<Reply> {
    const { stream, group, keys, settings } = this.#address
    const args = [group, settings.startAt, this.#lived.has(this.#name) ? 1 : 0]
    return this.#sender
      .send([{ script: createGroup, keys: [stream, keys.state, keys.due], args }])
      .then(([reply = null]) => reply)
  }

  #fence(slot: Slot): string[] {
    return [this.#address.group, slot.consumerName, slot.token]
  }

  #lease(slot: Slot): string {
    return this.#address.keys.slot(slot.consumerName)
  }

  get #name(): string {
    return JSON.stringify([this.#address.stream, this.#address.group])
  }
}

function asClaimed(item: Reply): Claimed {
  const [id, owner, idle, count] = items(item)
  return { id: asText(id), deliveryCount: Number(count), from: { owner: asText(owner), idleMs: Number(idle) } }
}

function pairs(held: readonly Held[]): (string | number)[] {
  return held.flatMap(({ id, deliveryCount }) => [id, deliveryCount])
}
