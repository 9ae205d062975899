import { RedisReplyError } from '../../errors.ts'
import { CLAIMER_SLOT_COUNT, isLeftOverConsumer, slotConsumerNames } from '../consumer-names.ts'
import type {
  ClaimerOperations,
  ClaimerRunEnd,
  ClaimRequest,
  ClaimResult,
  ClaimsEnd,
  Group,
  OpenedClaimerSlot,
  Settlement,
  Slot,
} from '../group.ts'
import type { HealedPage } from '../healed-page.ts'
import { Tally } from '../tally.ts'
import { parseClaimPageReply, parseDueInMs } from './claim-replies.ts'
import { replyItems } from './commands/reply.ts'
import { parseXinfoConsumers, xinfoConsumers } from './commands/xinfo-consumers.ts'
import { measureBacklogCall, parseBacklogMeasurement } from './measuring.ts'
import type { RedisGroup } from './redis-group.ts'
import { RedisRetries } from './redis-retries.ts'
import { claimPageScript } from './scripts/claim-page.ts'
import { finishClaimerRunScript } from './scripts/finish-claims.ts'
import { healGroupScript } from './scripts/heal.ts'
import { removeConsumerScript } from './scripts/remove-consumer.ts'
import { repair } from './scripts/repair.ts'
import type { ScriptCall } from './sender.ts'
import { isReplyError } from './sender.ts'
import { giveSlotBackCalls, takeSlotCalls } from './take-slot-calls.ts'

/** Pages of what is set aside that a run compares with its index. */
const REPAIR_PAGES = 20

/**
 * The claimer's side of a group. A group on Redis does not have it: the claimer brings it along, and what a poller is deployed with stays
 * small.
 */
export function claimerOperationsOf(group: Group): ClaimerOperations {
  return group.claims ?? new RedisClaims((group as RedisGroup).calls)
}

/** The claimer's side of the group port on Redis. */
export class RedisClaims extends RedisRetries implements ClaimerOperations {
  async settleAndClaim(slot: Slot, settlements: readonly Settlement[], request: ClaimRequest): Promise<ClaimResult> {
    const call = this.claimPage(slot.token, [slot.consumerName], request)
    return parseClaimPageReply(await this.calls.settleAnd(slot, settlements, [call], request.riders), request)
  }

  async takeSlotAndClaim(leaseMs: number, request: ClaimRequest): Promise<OpenedClaimerSlot | undefined> {
    const names = slotConsumerNames('claimer', CLAIMER_SLOT_COUNT)
    const take = takeSlotCalls(this.calls.address, 'claimer', CLAIMER_SLOT_COUNT, leaseMs)
    const claim = this.claimPage(take.token, names, request)
    const [taken, reply = null, told] = await this.calls.sender.send([take.call, claim, ...take.also])
    const slot = take.slotOf(taken, told)
    if (!slot) return undefined
    // without a lease the page had no name to claim under, and without a group there is no page yet
    if (slot.token === '' || isReplyError(reply, 'NOGROUP'))
      return { slot, page: await this.settleAndClaim(slot, [], request) }
    this.calls.seen(reply)
    return {
      slot,
      page: parseClaimPageReply({ settled: new Tally().result(), replies: [reply], groupRecreated: false }, request),
    }
  }

  protected claimPage(token: string, names: readonly string[], request: ClaimRequest): ScriptCall {
    const { minIdleMs, cursor = '', room } = request
    const { stream, group, keys } = this.calls.address
    return {
      script: claimPageScript,
      keys: [stream, keys.due, keys.waiting, keys.state, keys.paused, ...names.map((name) => keys.slot(name))],
      args: [group, token, minIdleMs, cursor, room, ...names],
    }
  }

  async heal(slot: Slot): Promise<HealedPage> {
    const keys = [...this.asideKeys(slot), this.calls.address.keys.state]
    const [reply = null] = await this.calls.sender.send([
      { script: healGroupScript, keys, args: this.calls.fence(slot) },
    ])
    if (isReplyError(reply, 'NOGROUP')) return { isDone: true, lost: 0 }
    if (reply instanceof RedisReplyError) throw reply
    const [status, lost] = replyItems(reply).map(Number) as [number, number]
    return { isDone: status !== 2, lost }
  }

  async finishClaims(
    slot: Slot,
    cursor: string,
    minIdleMs: number,
    { hasAcked = false, waitsMs }: ClaimsEnd = {},
  ): Promise<ClaimerRunEnd> {
    const { stream, group, keys } = this.calls.address
    const finish = {
      script: finishClaimerRunScript,
      keys: [...this.asideKeys(slot), keys.state, ...(waitsMs === undefined ? [] : [keys.nextClaim])],
      args: [
        ...this.calls.fence(slot),
        cursor,
        Number(hasAcked),
        ...(waitsMs === undefined ? [] : [Math.floor(waitsMs)]),
      ],
    }
    const measure = this.finishing(measureBacklogCall(this.calls.address))
    const calls = [this.finishing(finish), xinfoConsumers(stream, group), measure]
    const [finished = null, consumers, measured] = await this.calls.sender.send([
      ...calls,
      ...giveSlotBackCalls(this.calls.address, slot),
    ])
    // a group lost by now is made again by the next run; with memory full the last cursor and mark stay, and are still right
    if (isReplyError(finished, 'NOGROUP')) return { measured: undefined, lost: 0 }
    if (finished instanceof RedisReplyError && !finished.is('OOM')) throw finished
    if (consumers instanceof RedisReplyError) throw consumers
    await this.#removeConsumers(
      parseXinfoConsumers(consumers ?? null).filter(
        (info) =>
          info.pending === 0 &&
          info.idleMs >= minIdleMs &&
          isLeftOverConsumer(info.name, this.calls.address.settings.maxPollers),
      ),
      minIdleMs,
    )
    const [, trimmed = null, differs = 0, due = ''] = finished instanceof RedisReplyError ? [] : replyItems(finished)
    if (differs === 1) await this.#repair()
    const lost = replyItems(trimmed).reduce<number>((sum, reason) => sum + Number(replyItems(reason)[1]), 0)
    return { measured: parseBacklogMeasurement(measured), lost, ...parseDueInMs(due) }
  }

  /** How a run is ended, and what it leaves is measured. */
  protected finishing(call: ScriptCall): ScriptCall {
    return call
  }

  /** Compares the index with what is set aside, as many pages as a run has for it; the next run goes on. */
  async #repair(): Promise<void> {
    const { stream, group, keys } = this.calls.address
    const call = { script: repair, keys: [stream, keys.due, keys.waiting, keys.state], args: [group] }
    for (let page = 0; page < REPAIR_PAGES; page++) {
      const [reply = null] = await this.calls.sender.send([call])
      if (!Array.isArray(reply) || reply[0] === 1) return
    }
  }

  async #removeConsumers(consumers: readonly { name: string }[], minIdleMs: number): Promise<void> {
    if (consumers.length === 0) return
    const { stream, group, keys } = this.calls.address
    await this.calls.sender.send(
      consumers.map(({ name }) => ({
        script: removeConsumerScript,
        keys: [stream, keys.slot(name)],
        args: [group, name, minIdleMs],
      })),
    )
  }
}
