import { compareEntryIds } from '../../core/entry.ts'
import { RedisReplyError } from '../../errors.ts'
import { CLAIMER_SLOT_COUNT, isLeftOverConsumer, slotConsumerNames } from '../consumer-names.ts'
import type {
  ClaimedEntry,
  ClaimerOperations,
  ClaimerRunEnd,
  ClaimRequest,
  ClaimResult,
  Group,
  HealedPage,
  OpenedClaimerSlot,
  Settlement,
  SettleResult,
  Slot,
  StartClaimedBounds,
  StartClaimedResult,
  TakeDueRequest,
  TakeDueResult,
} from '../group.ts'
import { Tally } from '../tally.ts'
import { parseClaimPageReply, parseDueInMs, parseStartReply, parseTakeReply, together } from './claim-replies.ts'
import { replyItems } from './commands/reply.ts'
import { parseXinfoConsumers, xinfoConsumers } from './commands/xinfo-consumers.ts'
import { measureBacklogCall, parseBacklogMeasurement } from './measuring.ts'
import type { RedisGroup } from './redis-group.ts'
import type { RedisGroupCalls } from './redis-group-calls.ts'
import { heldEntryArguments } from './redis-group-calls.ts'
import { claimPageScript } from './scripts/claim-page.ts'
import { finishClaimerRunScript } from './scripts/finish-claims.ts'
import { healGroupScript } from './scripts/heal.ts'
import { removeConsumerScript } from './scripts/remove-consumer.ts'
import { repair } from './scripts/repair.ts'
import { startClaimedScript, startGuardedScript } from './scripts/start.ts'
import { takeSetAsideGuardedScript, takeSetAsideScript, undoTakeScript } from './scripts/take.ts'
import type { RedisCall } from './sender.ts'
import { isReplyError, isRequestTooLarge } from './sender.ts'
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
class RedisClaims implements ClaimerOperations {
  readonly #calls: RedisGroupCalls
  /** Of the last take. */
  #nonce: string | undefined

  constructor(calls: RedisGroupCalls) {
    this.#calls = calls
  }

  async settleAndClaim(slot: Slot, settlements: readonly Settlement[], request: ClaimRequest): Promise<ClaimResult> {
    const call = this.#claim(slot.token, [slot.consumerName], request)
    return parseClaimPageReply(await this.#calls.settleAnd(slot, settlements, [call], request.riders), request)
  }

  async takeSlotAndClaim(leaseMs: number, request: ClaimRequest): Promise<OpenedClaimerSlot | undefined> {
    const names = slotConsumerNames('claimer', CLAIMER_SLOT_COUNT)
    const take = takeSlotCalls(this.#calls.address, 'claimer', CLAIMER_SLOT_COUNT, leaseMs)
    const claim = this.#claim(take.token, names, request)
    const [taken, reply = null, told] = await this.#calls.sender.send([take.call, claim, ...take.also])
    const slot = take.slotOf(taken, told)
    if (!slot) return undefined
    // without a lease the page had no name to claim under, and without a group there is no page yet
    if (slot.token === '' || isReplyError(reply, 'NOGROUP'))
      return { slot, page: await this.settleAndClaim(slot, [], request) }
    this.#calls.seen(reply)
    return {
      slot,
      page: parseClaimPageReply({ settled: new Tally().result(), replies: [reply], groupRecreated: false }, request),
    }
  }

  #claim(token: string, names: readonly string[], { minIdleMs, cursor = '', room }: ClaimRequest): RedisCall {
    const { stream, group, keys } = this.#calls.address
    return {
      script: claimPageScript,
      keys: [stream, keys.due, keys.waiting, keys.state, keys.paused, ...names.map((name) => keys.slot(name))],
      args: [group, token, minIdleMs, cursor, room, ...names],
    }
  }

  async settleAndTake(slot: Slot, settlements: readonly Settlement[], request: TakeDueRequest): Promise<TakeDueResult> {
    const nonce = crypto.randomUUID()
    this.#nonce = nonce
    const { settled, replies } = await this.#calls.settleWith(slot, settlements, [this.#take(slot, nonce, request)])
    const [reply = null] = replies
    if (!(reply instanceof RedisReplyError && isRequestTooLarge(reply) && request.room > 1))
      return parseTakeReply(settled, reply, request)
    await this.settleAndGiveBack(slot, [])
    const again = await this.settleAndTake(slot, [], { ...request, room: Math.ceil(request.room / 2) })
    return { ...again, ...settled, failures: [...settled.failures, ...again.failures] }
  }

  #take(slot: Slot, nonce: string, request: TakeDueRequest): RedisCall {
    const { keys } = this.#calls.address
    const { room, maxBytes = '', maxDeliveries, till = '', conditions, unless, guards = [] } = request
    const { field, values } = unless ?? { field: '', values: [] }
    const bounds = [nonce, room, maxBytes, maxDeliveries, till, field, values.length, ...values]
    return {
      script: guards.length > 0 ? takeSetAsideGuardedScript : takeSetAsideScript,
      keys: [...this.#asideKeys(slot), keys.state, keys.paused, ...guards.map(({ key }) => key)],
      args: [...this.#calls.fence(slot), ...bounds, ...guards.map(({ holds }) => holds), ...conditions],
    }
  }

  #asideKeys(slot: Slot): string[] {
    const { stream, keys } = this.#calls.address
    return [stream, this.#calls.lease(slot), keys.due, keys.waiting]
  }

  async settleAndGiveBack(slot: Slot, settlements: readonly Settlement[]): Promise<SettleResult> {
    const keys = [...this.#asideKeys(slot), this.#calls.address.keys.state]
    const call = { script: undoTakeScript, keys, args: [...this.#calls.fence(slot), this.#nonce ?? ''] }
    return (await this.#calls.settleWith(slot, settlements, [call])).settled
  }

  async heal(slot: Slot): Promise<HealedPage> {
    const keys = [...this.#asideKeys(slot), this.#calls.address.keys.state]
    const [reply = null] = await this.#calls.sender.send([
      { script: healGroupScript, keys, args: this.#calls.fence(slot) },
    ])
    if (isReplyError(reply, 'NOGROUP')) return { isDone: true, lost: 0 }
    if (reply instanceof RedisReplyError) throw reply
    const [status, lost] = replyItems(reply).map(Number) as [number, number]
    return { isDone: status !== 2, lost }
  }

  async settleAndStart(
    slot: Slot,
    settlements: readonly Settlement[],
    given: readonly ClaimedEntry[],
    bounds: StartClaimedBounds = {},
  ): Promise<StartClaimedResult> {
    // consumer by consumer, and by their times, they came
    const claimed = given.toSorted((a, b) => compareEntryIds(a.id, b.id))
    const { settled, replies } = await this.#calls.settleWith(slot, settlements, [this.#start(slot, claimed, bounds)])
    const [reply = null] = replies
    if (reply instanceof RedisReplyError && isRequestTooLarge(reply) && claimed.length > 1)
      return together(settled, await this.#startHalves(slot, claimed, bounds))
    return parseStartReply(slot, settled, reply, claimed)
  }

  #start(
    slot: Slot,
    claimed: readonly ClaimedEntry[],
    { maxBytes, unless, guards = [] }: StartClaimedBounds,
  ): RedisCall {
    const { stream, keys } = this.#calls.address
    const { field, values } = unless ?? { field: '', values: [] }
    const kinds = guards.map(({ holds }) => holds)
    const fence = this.#calls.fence(slot)
    return {
      script: guards.length > 0 ? startGuardedScript : startClaimedScript,
      keys: [stream, this.#calls.lease(slot), keys.due, keys.paused, ...guards.map(({ key }) => key)],
      args: [...fence, maxBytes ?? '', field, values.length, ...values, ...kinds, ...heldEntryArguments(claimed)],
    }
  }

  /** Starts what was too much for one answer; sent again it counts no delivery twice. */
  async #startHalves(
    slot: Slot,
    claimed: readonly ClaimedEntry[],
    bounds: StartClaimedBounds,
  ): Promise<StartClaimedResult[]> {
    const middle = Math.ceil(claimed.length / 2)
    const first = await this.settleAndStart(slot, [], claimed.slice(0, middle), bounds)
    return [first, await this.settleAndStart(slot, [], claimed.slice(middle), bounds)]
  }

  async finishClaims(slot: Slot, cursor: string, minIdleMs: number, hasAcked = false): Promise<ClaimerRunEnd> {
    const { stream, group, keys } = this.#calls.address
    const finish = {
      script: finishClaimerRunScript,
      keys: [...this.#asideKeys(slot), keys.state],
      args: [...this.#calls.fence(slot), cursor, Number(hasAcked)],
    }
    const calls = [finish, xinfoConsumers(stream, group), measureBacklogCall(this.#calls.address)]
    const [finished = null, consumers, measured] = await this.#calls.sender.send([
      ...calls,
      ...giveSlotBackCalls(this.#calls.address, slot),
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
          isLeftOverConsumer(info.name, this.#calls.address.settings.maxPollers),
      ),
      minIdleMs,
    )
    const [, trimmed = null, differs = 0, due = ''] = finished instanceof RedisReplyError ? [] : replyItems(finished)
    if (differs === 1) await this.#repair()
    const lost = replyItems(trimmed).reduce<number>((sum, reason) => sum + Number(replyItems(reason)[1]), 0)
    return { measured: parseBacklogMeasurement(measured), lost, ...parseDueInMs(due) }
  }

  /** Compares the index with what is set aside, as many pages as a run has for it; the next run goes on. */
  async #repair(): Promise<void> {
    const { stream, group, keys } = this.#calls.address
    const call = { script: repair, keys: [stream, keys.due, keys.waiting, keys.state], args: [group] }
    for (let page = 0; page < REPAIR_PAGES; page++) {
      const [reply = null] = await this.#calls.sender.send([call])
      if (!Array.isArray(reply) || reply[0] === 1) return
    }
  }

  async #removeConsumers(consumers: readonly { name: string }[], minIdleMs: number): Promise<void> {
    if (consumers.length === 0) return
    const { stream, group, keys } = this.#calls.address
    await this.#calls.sender.send(
      consumers.map(({ name }) => ({
        script: removeConsumerScript,
        keys: [stream, keys.slot(name)],
        args: [group, name, minIdleMs],
      })),
    )
  }
}
