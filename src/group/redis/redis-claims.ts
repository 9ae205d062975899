import { compareEntryIds } from '../../core/entry.ts'
import { RedisReplyError } from '../../errors.ts'
import { CLAIMER_SLOTS, isLeftOver, slotNames } from '../consumer-names.ts'
import type {
  Claimed,
  ClaimRequest,
  ClaimResult,
  Claims,
  FinishedClaims,
  Group,
  Healed,
  Opened,
  Settlement,
  SettleResult,
  Slot,
  StartBounds,
  StartResult,
  TakeRequest,
  TakeResult,
} from '../group.ts'
import { Tally } from '../tally.ts'
import { pageOf, startedOf, takenOf, together } from './claim-replies.ts'
import { items } from './commands/reply.ts'
import { parseXinfoConsumers, xinfoConsumers } from './commands/xinfo-consumers.ts'
import { measureCall, measuredOf } from './measuring.ts'
import type { RedisCalls } from './redis-calls.ts'
import { pairs } from './redis-calls.ts'
import type { RedisGroup } from './redis-group.ts'
import { claimPage } from './scripts/claim-page.ts'
import { finishClaims } from './scripts/finish-claims.ts'
import { heal } from './scripts/heal.ts'
import { removeConsumer } from './scripts/remove-consumer.ts'
import { repair } from './scripts/repair.ts'
import { start, startGuarded } from './scripts/start.ts'
import { take, takeGuarded, untake } from './scripts/take.ts'
import type { Call } from './sender.ts'
import { isReplyError, isTooLarge } from './sender.ts'
import { slotGiving, slotTaking } from './slot-taking.ts'

/** Pages of what is set aside that a run compares with its index. */
const REPAIR_PAGES = 20

/**
 * The claimer's side of a group. A group on Redis does not have it: the claimer brings it along, and what a poller is deployed with stays
 * small.
 */
export function claimsOf(group: Group): Claims {
  return group.claims ?? new RedisClaims((group as RedisGroup).calls)
}

/** The claimer's side of the group port on Redis. */
class RedisClaims implements Claims {
  readonly #calls: RedisCalls
  /** Of the last take. */
  #nonce: string | undefined

  constructor(calls: RedisCalls) {
    this.#calls = calls
  }

  async settleAndClaim(slot: Slot, settlements: readonly Settlement[], request: ClaimRequest): Promise<ClaimResult> {
    const call = this.#claim(slot.token, [slot.consumerName], request)
    return pageOf(await this.#calls.settleAnd(slot, settlements, [call], request.riders), request)
  }

  async takeSlotAndClaim(leaseMs: number, request: ClaimRequest): Promise<Opened | undefined> {
    const names = slotNames('claimer', CLAIMER_SLOTS)
    const take = slotTaking(this.#calls.address, 'claimer', CLAIMER_SLOTS, leaseMs)
    const claim = this.#claim(take.token, names, request)
    const [taken, reply = null, told] = await this.#calls.sender.send([take.call, claim, ...take.also])
    const slot = take.slotOf(taken, told)
    if (!slot) return undefined
    // without a lease the page had no name to claim under, and without a group there is no page yet
    if (slot.token === '' || isReplyError(reply, 'NOGROUP'))
      return { slot, page: await this.settleAndClaim(slot, [], request) }
    this.#calls.seen(reply)
    return { slot, page: pageOf({ settled: new Tally().result(), replies: [reply], groupRecreated: false }, request) }
  }

  #claim(token: string, names: readonly string[], { minIdleMs, cursor = '', room }: ClaimRequest): Call {
    const { stream, group, keys } = this.#calls.address
    return {
      script: claimPage,
      keys: [stream, keys.due, keys.waiting, keys.state, keys.paused, ...names.map((name) => keys.slot(name))],
      args: [group, token, minIdleMs, cursor, room, ...names],
    }
  }

  async settleAndTake(slot: Slot, settlements: readonly Settlement[], request: TakeRequest): Promise<TakeResult> {
    const nonce = crypto.randomUUID()
    this.#nonce = nonce
    const { settled, replies } = await this.#calls.settleWith(slot, settlements, [this.#take(slot, nonce, request)])
    const [reply = null] = replies
    if (!(reply instanceof RedisReplyError && isTooLarge(reply) && request.room > 1))
      return takenOf(settled, reply, request)
    await this.settleAndGiveBack(slot, [])
    const again = await this.settleAndTake(slot, [], { ...request, room: Math.ceil(request.room / 2) })
    return { ...again, ...settled, failures: [...settled.failures, ...again.failures] }
  }

  #take(slot: Slot, nonce: string, request: TakeRequest): Call {
    const { keys } = this.#calls.address
    const { room, maxBytes = '', maxDeliveries, till = '', conditions, unless, guards = [] } = request
    const { field, values } = unless ?? { field: '', values: [] }
    const bounds = [nonce, room, maxBytes, maxDeliveries, till, field, values.length, ...values]
    return {
      script: guards.length > 0 ? takeGuarded : take,
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
    const call = { script: untake, keys, args: [...this.#calls.fence(slot), this.#nonce ?? ''] }
    return (await this.#calls.settleWith(slot, settlements, [call])).settled
  }

  async heal(slot: Slot): Promise<Healed> {
    const keys = [...this.#asideKeys(slot), this.#calls.address.keys.state]
    const [reply = null] = await this.#calls.sender.send([{ script: heal, keys, args: this.#calls.fence(slot) }])
    if (isReplyError(reply, 'NOGROUP')) return { isDone: true, lost: 0 }
    if (reply instanceof RedisReplyError) throw reply
    const [status, lost] = items(reply).map(Number) as [number, number]
    return { isDone: status !== 2, lost }
  }

  async settleAndStart(
    slot: Slot,
    settlements: readonly Settlement[],
    given: readonly Claimed[],
    bounds: StartBounds = {},
  ): Promise<StartResult> {
    // consumer by consumer, and by their times, they came
    const claimed = given.toSorted((a, b) => compareEntryIds(a.id, b.id))
    const { settled, replies } = await this.#calls.settleWith(slot, settlements, [this.#start(slot, claimed, bounds)])
    const [reply = null] = replies
    if (reply instanceof RedisReplyError && isTooLarge(reply) && claimed.length > 1)
      return together(settled, await this.#startHalves(slot, claimed, bounds))
    return startedOf(slot, settled, reply, claimed)
  }

  #start(slot: Slot, claimed: readonly Claimed[], { maxBytes, unless, guards = [] }: StartBounds): Call {
    const { stream, keys } = this.#calls.address
    const { field, values } = unless ?? { field: '', values: [] }
    const kinds = guards.map(({ holds }) => holds)
    const fence = this.#calls.fence(slot)
    return {
      script: guards.length > 0 ? startGuarded : start,
      keys: [stream, this.#calls.lease(slot), keys.due, keys.paused, ...guards.map(({ key }) => key)],
      args: [...fence, maxBytes ?? '', field, values.length, ...values, ...kinds, ...pairs(claimed)],
    }
  }

  /** Starts what was too much for one answer; sent again it counts no delivery twice. */
  async #startHalves(slot: Slot, claimed: readonly Claimed[], bounds: StartBounds): Promise<StartResult[]> {
    const middle = Math.ceil(claimed.length / 2)
    const first = await this.settleAndStart(slot, [], claimed.slice(0, middle), bounds)
    return [first, await this.settleAndStart(slot, [], claimed.slice(middle), bounds)]
  }

  async finishClaims(slot: Slot, cursor: string, minIdleMs: number, hasAcked = false): Promise<FinishedClaims> {
    const { stream, group, keys } = this.#calls.address
    const finish = {
      script: finishClaims,
      keys: [...this.#asideKeys(slot), keys.state],
      args: [...this.#calls.fence(slot), cursor, Number(hasAcked)],
    }
    const calls = [finish, xinfoConsumers(stream, group), measureCall(this.#calls.address)]
    const [finished = null, consumers, measured] = await this.#calls.sender.send([
      ...calls,
      ...slotGiving(this.#calls.address, slot),
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
          isLeftOver(info.name, this.#calls.address.settings.maxPollers),
      ),
      minIdleMs,
    )
    const [, trimmed = null, differs = 0] = finished instanceof RedisReplyError ? [] : items(finished)
    if (differs === 1) await this.#repair()
    const lost = items(trimmed).reduce<number>((sum, reason) => sum + Number(items(reason)[1]), 0)
    return { measured: measuredOf(measured), lost }
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
        script: removeConsumer,
        keys: [stream, keys.slot(name)],
        args: [group, name, minIdleMs],
      })),
    )
  }
}
