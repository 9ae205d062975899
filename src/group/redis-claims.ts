import { RedisConnectionError, RedisReplyError } from '../errors.ts'
import type { Reply } from './clients/transport.ts'
import { asFields, asText, items } from './commands/reply.ts'
import { parseXinfoConsumers, xinfoConsumers } from './commands/xinfo-consumers.ts'
import { isLeftOver } from './consumer-names.ts'
import type {
  Claimed,
  ClaimRequest,
  ClaimResult,
  Claims,
  Delivery,
  Group,
  Settlement,
  Slot,
  StartResult,
} from './group.ts'
import type { RedisCalls } from './redis-calls.ts'
import { pairs } from './redis-calls.ts'
import type { RedisGroup } from './redis-group.ts'
import { claimPage } from './scripts/claim-page.ts'
import { finishClaims } from './scripts/finish-claims.ts'
import { removeConsumer } from './scripts/remove-consumer.ts'
import { STARTED, start } from './scripts/start.ts'
import { isReplyError } from './sender.ts'

/**
 * The claimer's side of a group. A group on Redis does not have it: the claimer brings it along, and what a poller is deployed with stays
 * small.
 */
export function claimsOf(group: Group): Claims {
  return 'settleAndClaim' in group ? (group as Group & Claims) : new RedisClaims((group as RedisGroup).calls)
}

/** The claimer's side of the group port on Redis. */
class RedisClaims implements Claims {
  readonly #calls: RedisCalls

  constructor(calls: RedisCalls) {
    this.#calls = calls
  }

  async settleAndClaim(
    slot: Slot,
    settlements: readonly Settlement[],
    { minIdleMs, cursor = '', room }: ClaimRequest,
  ): Promise<ClaimResult> {
    const { stream, keys } = this.#calls.address
    const call = {
      script: claimPage,
      keys: [stream, this.#calls.lease(slot), keys.due, keys.state],
      args: [...this.#calls.fence(slot), minIdleMs, cursor, room],
    }
    const { settled, replies, healed } = await this.#calls.settleAnd(slot, settlements, [call])
    const [reply = null] = replies
    const nothing = { from: cursor, cursor: undefined, claimed: [], lost: 0, healed }
    if (reply instanceof RedisConnectionError) return { ...settled, ...nothing }
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
    const { stream, keys } = this.#calls.address
    const call = {
      script: start,
      keys: [stream, this.#calls.lease(slot), keys.due],
      args: [...this.#calls.fence(slot), ...pairs(claimed)],
    }
    const { settled, replies } = await this.#calls.settleWith(slot, settlements, [call])
    const [reply = null] = replies
    const counts = { ...settled.counts }
    if (reply instanceof RedisConnectionError) return { ...settled, started: [] }
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

  async finishClaims(slot: Slot, cursor: string, minIdleMs: number, hasAcked = false): Promise<void> {
    const { stream, group, keys } = this.#calls.address
    const finish = {
      script: finishClaims,
      keys: [stream, this.#calls.lease(slot), keys.due, keys.state],
      args: [...this.#calls.fence(slot), cursor, Number(hasAcked)],
    }
    const [mark, consumers] = await this.#calls.sender.send([finish, xinfoConsumers(stream, group)])
    // a group lost by now is made again by the next run; with memory full the last cursor and mark stay, and are still right
    if (isReplyError(mark, 'NOGROUP')) return
    if (mark instanceof RedisReplyError && !mark.is('OOM')) throw mark
    if (consumers instanceof RedisReplyError) throw consumers
    await this.#removeConsumers(
      parseXinfoConsumers(consumers ?? null).filter(
        (info) =>
          info.pending === 0 && info.idleMs >= minIdleMs && isLeftOver(info.name, this.#calls.address.settings.slots),
      ),
      minIdleMs,
    )
  }

  async #removeConsumers(consumers: readonly { name: string }[], minIdleMs: number): Promise<void> {
    if (consumers.length === 0) return
    const { stream, group, keys } = this.#calls.address
    await this.#calls.sender.send(
      consumers.map(({ name }) => ({
        script: removeConsumer,
        keys: [stream, keys.slot(name)],
        args: [group, name, minIdleMs],
      })),
    )
  }
}

function asClaimed(item: Reply): Claimed {
  const [id, owner, idle, count] = items(item)
  return { id: asText(id), deliveryCount: Number(asText(count)), from: { owner: asText(owner), idleMs: Number(idle) } }
}
