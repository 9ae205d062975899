import { chunksOf } from '../core/chunks.ts'
import { PARKED } from '../core/keys.ts'
import { RedisReplyError } from '../errors.ts'
import { get } from './commands/get.ts'
import { asText, items } from './commands/reply.ts'
import { parseXreadgroup, xreadgroup } from './commands/xreadgroup.ts'
import { slotNames } from './consumer-names.ts'
import type {
  Delivery,
  Group,
  Held,
  Measured,
  ReadRequest,
  ReadResult,
  RenewResult,
  Settlement,
  SettleResult,
  Slot,
  SlotKind,
} from './group.ts'
import type { RedisCalls } from './redis-calls.ts'
import { pairs } from './redis-calls.ts'
import { finishReads } from './scripts/finish-reads.ts'
import { giveSlot } from './scripts/give-slot.ts'
import { measure, UNKNOWN } from './scripts/measure.ts'
import { NOT_READ, readBounded } from './scripts/read-bounded.ts'
import { renew } from './scripts/renew.ts'
import { SCRIPT_ENTRIES } from './scripts/script.ts'
import { NO_LEASE, takeSlot } from './scripts/take-slot.ts'
import type { Call } from './sender.ts'
import { isReplyError } from './sender.ts'

/** The group port on Redis, put together from commands and scripts. */
export class RedisGroup implements Group {
  readonly calls: RedisCalls

  constructor(calls: RedisCalls) {
    this.calls = calls
  }

  get roundTrips(): number {
    return this.calls.sender.roundTrips
  }

  async takeSlot(kind: SlotKind, slots: number, leaseMs: number): Promise<Slot | undefined> {
    const names = slotNames(kind, slots)
    const token = crypto.randomUUID()
    const keys = [this.calls.address.keys.wake, ...names.map((name) => this.calls.address.keys.slot(name))]
    const args = [token, Math.ceil(leaseMs), kind === 'poller' ? 1 : 0]
    const [reply] = await this.calls.sender.send([{ script: takeSlot, keys, args }])
    if (reply === NO_LEASE || isReplyError(reply, 'OOM'))
      return { consumerName: `${kind}-${token}`, token: '', leaseMs }
    if (reply instanceof RedisReplyError) throw reply
    const consumerName = names[Number(reply)]
    return consumerName === undefined ? undefined : { consumerName, token, leaseMs: Math.ceil(leaseMs) }
  }

  async giveSlot(slot: Slot, isSettled: boolean, takesFlag = false, hasAcked = false): Promise<boolean> {
    if (slot.token === '') return false
    const lease = this.calls.lease(slot)
    const { stream, keys } = this.calls.address
    const flag = takesFlag && isSettled ? [keys.wake] : []
    const flagged = await this.calls.sender.call(
      isSettled || hasAcked
        ? {
            script: finishReads,
            keys: [stream, lease, keys.state, ...flag],
            args: [...this.calls.fence(slot), slot.leaseMs, Number(hasAcked), Number(isSettled)],
          }
        : { script: giveSlot, keys: [lease], args: [slot.token] },
    )
    return flag.length > 0 && flagged === 1
  }

  async settle(slot: Slot, settlements: readonly Settlement[]): Promise<SettleResult> {
    return (await this.calls.settleWith(slot, settlements, [])).settled
  }

  async settleAndRead(
    slot: Slot,
    settlements: readonly Settlement[],
    { count, maxPending }: ReadRequest,
  ): Promise<ReadResult> {
    const { stream, group, keys, settings } = this.calls.address
    const lease = this.calls.lease(slot)
    const bounded = {
      script: readBounded,
      keys: [stream, lease, keys.wake],
      args: [...this.calls.fence(slot), count, maxPending ?? 0],
    }
    const plain: Call[] = [xreadgroup(stream, group, slot.consumerName, count), get(lease)]
    const calls = maxPending === undefined ? plain : [bounded]
    const { settled, replies, healed } = await this.calls.settleAnd(slot, settlements, calls)
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
    const keys = [this.calls.address.stream, this.calls.lease(slot)]
    const replies = await this.calls.sender.send(
      chunksOf(held, SCRIPT_ENTRIES).map((chunk) => ({
        script: renew,
        keys,
        args: [...this.calls.fence(slot), ...pairs(chunk)],
      })),
    )
    const counts = replies.map((reply) => (typeof reply === 'number' ? reply : 0))
    return { lost: counts.reduce((sum, lost) => sum + Math.max(0, lost), 0), leaseLost: counts.includes(-1) }
  }

  async measure(): Promise<Measured | undefined> {
    const { stream, group, keys, settings } = this.calls.address
    const leases = slotNames('poller', settings.slots).map((name) => keys.slot(name))
    const call = { script: measure, keys: [stream, keys.deadLetters, keys.state, ...leases], args: [group] }
    const [reply = null] = await this.calls.sender.send([call])
    if (isReplyError(reply, 'NOGROUP')) return undefined
    if (reply instanceof RedisReplyError) throw reply
    const [pending, oldestPendingMs, lag, streamLength, deadLetters, pollers, sinceLastSuccessMs] = items(reply).map(
      Number,
    ) as [number, number, number, number, number, number, number]
    const backlog = {
      pending,
      oldestPendingMs,
      streamLength,
      deadLetters,
      ...(lag !== UNKNOWN && { lag }),
      ...(sinceLastSuccessMs !== UNKNOWN && { sinceLastSuccessMs }),
    }
    return { backlog, pollers }
  }
}
