import { compareEntryIds } from '../../core/entry.ts'
import { RedisConnectionError, RedisReplyError } from '../../errors.ts'
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
  Measured,
  Opened,
  Settlement,
  SettleResult,
  Slot,
  StartBounds,
  StartResult,
} from '../group.ts'
import { Tally } from '../tally.ts'
import { asFields, asText, items } from './commands/reply.ts'
import { parseXinfoConsumers, xinfoConsumers } from './commands/xinfo-consumers.ts'
import { measureCall, measuredOf } from './measuring.ts'
import type { RedisCalls, SettledWith } from './redis-calls.ts'
import { pairs } from './redis-calls.ts'
import type { RedisGroup } from './redis-group.ts'
import { claimDue } from './scripts/claim-due.ts'
import { claimPage, claimPageBesideIndexes } from './scripts/claim-page.ts'
import { finishClaims } from './scripts/finish-claims.ts'
import { removeConsumer } from './scripts/remove-consumer.ts'
import { STARTED, start, startWithPolicies } from './scripts/start.ts'
import type { Call } from './sender.ts'
import { isReplyError, isTooLarge } from './sender.ts'
import { slotGiving, slotTaking } from './slot-taking.ts'
import type { Answer, Reply } from './transport.ts'

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
    const { stream, group, keys, indexes = [] } = this.#calls.address
    return {
      script: indexes.length > 0 ? claimPageBesideIndexes : claimPage,
      keys: [stream, keys.due, keys.state, ...names.map((name) => keys.slot(name)), ...indexes],
      args: [group, token, minIdleMs, cursor, room, ...names, ...indexes.map(() => '')],
    }
  }

  async settleAndClaimDue(
    slot: Slot,
    settlements: readonly Settlement[],
    { index, room, till, past }: DueRequest,
  ): Promise<DueResult> {
    const call = {
      script: claimDue,
      keys: [this.#calls.address.stream, this.#calls.lease(slot), index],
      args: [...this.#calls.fence(slot), room, till ?? '', past],
    }
    const { settled, replies } = await this.#calls.settleWith(slot, settlements, [call])
    const [reply = null] = replies
    const nothing = { ...settled, till: till ?? 0, claimed: [], lost: 0 }
    if (reply instanceof RedisConnectionError || isReplyError(reply, 'NOGROUP')) return nothing
    if (reply instanceof RedisReplyError) return { ...nothing, failures: [...settled.failures, reply] }
    if (!Array.isArray(reply)) return { ...nothing, leaseLost: true }
    const [lookedTill, claimed, lost] = items(reply)
    return {
      ...settled,
      till: Number(asText(lookedTill)),
      claimed: items(claimed).map(asClaimed),
      lost: items(lost).length,
    }
  }

  async settleAndStart(
    slot: Slot,
    settlements: readonly Settlement[],
    given: readonly Claimed[],
    bounds: StartBounds = {},
  ): Promise<StartResult> {
    const { indexes = [] } = this.#calls.address
    // a page has them so; an index has the order of their times
    const claimed = indexes.length > 0 ? given.toSorted((a, b) => compareEntryIds(a.id, b.id)) : given
    const { settled, replies } = await this.#calls.settleWith(slot, settlements, [this.#start(slot, claimed, bounds)])
    const [reply = null] = replies
    if (reply instanceof RedisReplyError && isTooLarge(reply) && claimed.length > 1)
      return together(settled, await this.#startHalves(slot, claimed, bounds))
    return startedOf(settled, reply, claimed)
  }

  #start(slot: Slot, claimed: readonly Claimed[], { maxBytes, unless, guards = [] }: StartBounds): Call {
    const { stream, keys, indexes = [] } = this.#calls.address
    const { field, values } = unless ?? { field: '', values: [] }
    const kinds = [...guards.map(({ holds }) => holds), ...indexes.map(() => 'index')]
    const fence = this.#calls.fence(slot)
    return {
      script: guards.length + indexes.length > 0 ? startWithPolicies : start,
      keys: [stream, this.#calls.lease(slot), keys.due, ...guards.map(({ key }) => key), ...indexes],
      args: [...fence, maxBytes ?? '', field, values.length, ...values, ...kinds, ...pairs(claimed)],
    }
  }

  /** Starts what was too much for one answer; sent again it counts no delivery twice. */
  async #startHalves(slot: Slot, claimed: readonly Claimed[], bounds: StartBounds): Promise<StartResult[]> {
    const middle = Math.ceil(claimed.length / 2)
    const first = await this.settleAndStart(slot, [], claimed.slice(0, middle), bounds)
    return [first, await this.settleAndStart(slot, [], claimed.slice(middle), bounds)]
  }

  async finishClaims(
    slot: Slot,
    cursor: string,
    minIdleMs: number,
    hasAcked = false,
  ): Promise<Measured | RedisReplyError | undefined> {
    const { stream, group, keys } = this.#calls.address
    const finish = {
      script: finishClaims,
      keys: [stream, this.#calls.lease(slot), keys.due, keys.state],
      args: [...this.#calls.fence(slot), cursor, Number(hasAcked)],
    }
    const calls = [
      finish,
      xinfoConsumers(stream, group),
      measureCall(this.#calls.address),
      ...slotGiving(this.#calls.address, slot),
    ]
    const [mark, consumers, measured] = await this.#calls.sender.send(calls)
    // a group lost by now is made again by the next run; with memory full the last cursor and mark stay, and are still right
    if (isReplyError(mark, 'NOGROUP')) return undefined
    if (mark instanceof RedisReplyError && !mark.is('OOM')) throw mark
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
    return measuredOf(measured)
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

function startedOf(settled: SettleResult, reply: Answer, claimed: readonly Claimed[]): StartResult {
  const counts = { ...settled.counts }
  const started: Delivery[] = []
  const leftAlone: Claimed[] = []
  const noRoom: Claimed[] = []
  const result = { ...settled, counts, started, leftAlone, noRoom }
  if (reply instanceof RedisConnectionError) return result
  if (reply instanceof RedisReplyError) {
    counts.unsettled += claimed.length
    return reply.is('NOGROUP') ? result : { ...result, failures: [...settled.failures, reply] }
  }
  let { leaseLost } = settled
  for (const [n, item] of items(reply).entries()) {
    const entry = claimed[n] as Claimed
    const { id, deliveryCount, from } = entry
    const [status, fields] = items(item)
    if (status === STARTED.yes)
      started.push({ id, fields: asFields(fields), deliveryCount: deliveryCount + 1, returnTo: from })
    else if (status === STARTED.leftAlone) leftAlone.push(entry)
    else if (status === STARTED.noRoom) noRoom.push(entry)
    else counts[status === STARTED.leaseLost ? 'unsettled' : 'superseded']++
    if (status === STARTED.lost) counts.lost++
    leaseLost ||= status === STARTED.leaseLost
  }
  return { ...result, leaseLost }
}

function together(settled: SettleResult, parts: readonly StartResult[]): StartResult {
  const counts = { ...settled.counts }
  for (const part of parts)
    for (const name of Object.keys(counts) as (keyof typeof counts)[]) counts[name] += part.counts[name]
  const unanswered = parts.find((part) => part.unanswered)?.unanswered ?? settled.unanswered
  return {
    ...settled,
    counts,
    started: parts.flatMap(({ started }) => started),
    leftAlone: parts.flatMap(({ leftAlone }) => leftAlone),
    noRoom: parts.flatMap(({ noRoom }) => noRoom),
    failures: [...settled.failures, ...parts.flatMap(({ failures }) => failures)],
    leaseLost: settled.leaseLost || parts.some(({ leaseLost }) => leaseLost),
    ...(unanswered && { unanswered }),
  }
}

function pageOf(
  { settled, replies, ...told }: SettledWith & { readonly groupRecreated: boolean },
  { cursor = '' }: ClaimRequest,
): ClaimResult {
  const [reply = null] = replies
  const nothing = { from: cursor, cursor: undefined, claimed: [], lost: 0, ...told }
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
    ...told,
  }
}

function asClaimed(item: Reply): Claimed {
  const [id, owner, idle, count] = items(item)
  return { id: asText(id), deliveryCount: Number(asText(count)), from: { owner: asText(owner), idleMs: Number(idle) } }
}
