import { PARKED } from '../../core/keys.ts'
import { RedisConnectionError, RedisReplyError } from '../../errors.ts'
import type {
  Claimed,
  ClaimRequest,
  ClaimResult,
  Delivery,
  SetAside,
  SettleResult,
  Slot,
  StartResult,
  TakenDelivery,
  TakeRequest,
  TakeResult,
} from '../group.ts'
import { returnOf } from '../group.ts'
import { seenPauses } from '../seen-pauses.ts'
import { asFields, asText, items } from './commands/reply.ts'
import type { SettledWith } from './redis-calls.ts'
import { STARTED } from './scripts/start.ts'
import { isReplyError } from './sender.ts'
import type { Answer, Reply } from './transport.ts'

/** What was started, and what of the claimed could not be. */
export function startedOf(slot: Slot, settled: SettleResult, reply: Answer, claimed: readonly Claimed[]): StartResult {
  const counts = { ...settled.counts }
  const started: Delivery[] = []
  const leftAlone: Claimed[] = []
  const noRoom: Claimed[] = []
  const leftPaused: Claimed[] = []
  const result = { ...settled, counts, started, leftAlone, noRoom }
  if (reply instanceof RedisConnectionError) return result
  if (reply instanceof RedisReplyError) {
    counts.unsettled += claimed.length
    return reply.is('NOGROUP') ? result : { ...result, failures: [...settled.failures, reply] }
  }
  let { leaseLost } = settled
  const [statuses = [], text, now] = items(reply)
  for (const [n, item] of items(statuses).entries()) {
    const entry = claimed[n] as Claimed
    const { id, deliveryCount } = entry
    const [status, fields] = items(item)
    if (status === STARTED.yes)
      started.push({
        id,
        fields: asFields(fields),
        deliveryCount: deliveryCount + 1,
        returnTo: returnOf(entry, slot),
        isTaken: true,
      })
    else if (status === STARTED.leftAlone) leftAlone.push(entry)
    else if (status === STARTED.noRoom) noRoom.push(entry)
    else if (status === STARTED.paused) leftPaused.push(entry)
    else counts[status === STARTED.leaseLost ? 'unsettled' : 'superseded']++
    if (status === STARTED.lost) counts.lost++
    leaseLost ||= status === STARTED.leaseLost
  }
  return { ...result, leaseLost, ...(leftPaused.length > 0 && { leftPaused }), ...seenBy(text, now) }
}

/** What a take brought. */
export function takenOf(settled: SettleResult, reply: Answer, { till }: TakeRequest): TakeResult {
  const nothing = {
    ...settled,
    till: till ?? 0,
    started: [],
    handed: [],
    lost: 0,
    left: { conditions: [] },
    isMore: false,
  }
  if (reply instanceof RedisConnectionError || isReplyError(reply, 'NOGROUP')) return nothing
  if (reply instanceof RedisReplyError) return { ...nothing, failures: [...settled.failures, reply] }
  if (!Array.isArray(reply)) return { ...nothing, leaseLost: true }
  const [lookedTill, entries, lost, dueInMs, conditions, isMore, text, now] = items(reply)
  const started: TakenDelivery[] = []
  const handed: Claimed[] = []
  for (const item of items(entries)) {
    const [id, count, fields, idle] = items(item)
    const idleMs = Number(idle)
    const held = { id: asText(id), deliveryCount: Number(asText(count)) }
    if (Array.isArray(fields))
      started.push({ ...held, fields: asFields(fields), returnTo: PARKED, isTaken: true, idleMs })
    else handed.push({ ...held, from: { owner: PARKED, idleMs } })
  }
  const left = setAsideOf(dueInMs, conditions)
  return {
    ...settled,
    till: Number(asText(lookedTill)),
    started,
    handed,
    lost: items(lost).length,
    left,
    isMore: isMore === 1,
    ...seenBy(text, now),
  }
}

function seenBy(text: Reply = '', now: Reply = '') {
  return seenPauses(asText(text), Number(asText(now)))
}

function setAsideOf(dueInMs: Reply = '', conditions: Reply = []): SetAside {
  const due = asText(dueInMs)
  return { ...(due !== '' && { dueInMs: Number(due) }), conditions: items(conditions).map(asText) }
}

/** The sums of parts that were sent one after the other. */
export function together(settled: SettleResult, parts: readonly StartResult[]): StartResult {
  const counts = { ...settled.counts }
  for (const part of parts)
    for (const name of Object.keys(counts) as (keyof typeof counts)[]) counts[name] += part.counts[name]
  const leftPaused = parts.flatMap((part) => part.leftPaused ?? [])
  const { paused } = parts.at(-1) ?? {}
  const unanswered = parts.find((part) => part.unanswered)?.unanswered ?? settled.unanswered
  return {
    ...settled,
    counts,
    started: parts.flatMap(({ started }) => started),
    leftAlone: parts.flatMap(({ leftAlone }) => leftAlone),
    noRoom: parts.flatMap(({ noRoom }) => noRoom),
    failures: [...settled.failures, ...parts.flatMap(({ failures }) => failures)],
    leaseLost: settled.leaseLost || parts.some(({ leaseLost }) => leaseLost),
    ...(leftPaused.length > 0 && { leftPaused }),
    ...(paused && { paused }),
    ...(unanswered && { unanswered }),
  }
}

/** A page of what was left behind. */
export function pageOf(
  { settled, replies, ...told }: SettledWith & { readonly groupRecreated: boolean },
  { cursor = '' }: ClaimRequest,
): ClaimResult {
  const [reply = null] = replies
  const aside = { conditions: [] }
  const nothing = { from: cursor, cursor: undefined, claimed: [], lost: 0, aside, isHealing: false, ...told }
  if (reply instanceof RedisConnectionError) return { ...settled, ...nothing }
  if (reply instanceof RedisReplyError) return { ...settled, ...nothing, failures: [...settled.failures, reply] }
  if (!Array.isArray(reply)) return { ...settled, ...nothing, leaseLost: true }
  const [from, after, claimed, lost, dueInMs, conditions, isHealing, text, now] = items(reply)
  return {
    ...settled,
    from: asText(from),
    cursor: asText(after),
    claimed: items(claimed).map(asClaimed),
    lost: items(lost).length,
    aside: setAsideOf(dueInMs, conditions),
    isHealing: isHealing === 1,
    ...seenBy(text, now),
    ...told,
  }
}

function asClaimed(item: Reply): Claimed {
  const [id, owner, idle, count] = items(item)
  return { id: asText(id), deliveryCount: Number(asText(count)), from: { owner: asText(owner), idleMs: Number(idle) } }
}
