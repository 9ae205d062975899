import { PARKED_CONSUMER } from '../../core/keys.ts'
import { RedisConnectionError, RedisReplyError } from '../../errors.ts'
import type { ClaimedEntry, Delivery } from '../delivery.ts'
import { ownerToReturnTo } from '../delivery.ts'
import type {
  ClaimRequest,
  ClaimResult,
  DeliveryFromSetAside,
  SetAsideSummary,
  SettleResult,
  Slot,
  StartClaimedResult,
  TakeDueRequest,
  TakeDueResult,
} from '../group.ts'
import { seenPauses } from '../seen-pauses.ts'
import { AnsweredDelivery, TakenDelivery } from './answered-delivery.ts'
import { replyAsText, replyItems } from './commands/reply.ts'
import type { SettledWithReplies } from './redis-group-calls.ts'
import { START_SCRIPT_ANSWERS } from './scripts/start.ts'
import { isReplyError } from './sender.ts'
import type { RedisReply, ReplyOrConnectionError } from './transport.ts'

/** What was started, and what of the claimed could not be. */
export function parseStartReply(
  slot: Slot,
  settled: SettleResult,
  reply: ReplyOrConnectionError,
  claimed: readonly ClaimedEntry[],
): StartClaimedResult {
  const counts = { ...settled.counts }
  const started: Delivery[] = []
  const leftAlone: ClaimedEntry[] = []
  const noRoom: ClaimedEntry[] = []
  const leftPaused: ClaimedEntry[] = []
  const result = { ...settled, counts, started, leftAlone, noRoom }
  if (reply instanceof RedisConnectionError) return result
  if (reply instanceof RedisReplyError) {
    counts.unsettled += claimed.length
    return reply.is('NOGROUP') ? result : { ...result, failures: [...settled.failures, reply] }
  }
  let { leaseLost } = settled
  const [statuses = [], text, now] = replyItems(reply)
  for (const [n, item] of replyItems(statuses).entries()) {
    const entry = claimed[n] as ClaimedEntry
    const { id, deliveryCount } = entry
    const [status, fields] = replyItems(item)
    if (status === START_SCRIPT_ANSWERS.yes)
      started.push(new AnsweredDelivery(id, fields, deliveryCount + 1, ownerToReturnTo(entry, slot), true))
    else if (status === START_SCRIPT_ANSWERS.leftAlone) leftAlone.push(entry)
    else if (status === START_SCRIPT_ANSWERS.noRoom) noRoom.push(entry)
    else if (status === START_SCRIPT_ANSWERS.paused) leftPaused.push(entry)
    else counts[status === START_SCRIPT_ANSWERS.leaseLost ? 'unsettled' : 'superseded']++
    if (status === START_SCRIPT_ANSWERS.lost) counts.lost++
    leaseLost ||= status === START_SCRIPT_ANSWERS.leaseLost
  }
  return { ...result, leaseLost, ...(leftPaused.length > 0 && { leftPaused }), ...seenBy(text, now) }
}

/** What a take brought. */
export function parseTakeReply(
  settled: SettleResult,
  reply: ReplyOrConnectionError,
  { till }: TakeDueRequest,
): TakeDueResult {
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
  const [lookedTill, entries, lost, dueInMs, conditions, isMore, text, now] = replyItems(reply)
  const started: DeliveryFromSetAside[] = []
  const handed: ClaimedEntry[] = []
  for (const item of replyItems(entries)) {
    const [name, count, given, idle, isOfLane] = replyItems(item)
    const idleMs = Number(idle)
    const id = replyAsText(name)
    const deliveryCount = Number(replyAsText(count))
    if (Array.isArray(given))
      started.push(new TakenDelivery(id, given, deliveryCount, idleMs, isOfLane === 1 ? true : undefined))
    else handed.push({ id, deliveryCount, from: { owner: PARKED_CONSUMER, idleMs } })
  }
  const left = setAsideOf(dueInMs, conditions)
  return {
    ...settled,
    till: Number(replyAsText(lookedTill)),
    started,
    handed,
    lost: replyItems(lost).length,
    left,
    isMore: Number(isMore) > 0,
    ...(isMore === 2 && { isMuchMore: true }),
    ...seenBy(text, now),
  }
}

function seenBy(text: RedisReply = '', now: RedisReply = '') {
  return seenPauses(replyAsText(text), Number(replyAsText(now)))
}

function setAsideOf(dueInMs: RedisReply = '', conditions: RedisReply = []): SetAsideSummary {
  return { ...parseDueInMs(dueInMs), conditions: replyItems(conditions).map(replyAsText) }
}

/** Milliseconds until the next entry is due, as a member of a result; none where nothing waits for a time. */
export function parseDueInMs(reply: RedisReply): { readonly dueInMs?: number } {
  const due = replyAsText(reply)
  return due === '' ? {} : { dueInMs: Number(due) }
}

/** The sums of parts that were sent one after the other. */
export function together(settled: SettleResult, parts: readonly StartClaimedResult[]): StartClaimedResult {
  const counts = { ...settled.counts }
  for (const part of parts)
    for (const name of Object.keys(counts) as (keyof typeof counts)[])
      counts[name] = (counts[name] ?? 0) + (part.counts[name] ?? 0)
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
export function parseClaimPageReply(
  { settled, replies, ...told }: SettledWithReplies & { readonly groupRecreated: boolean },
  { cursor = '' }: ClaimRequest,
): ClaimResult {
  const [reply = null] = replies
  const aside = { conditions: [] }
  const nothing = { from: cursor, cursor: undefined, claimed: [], lost: 0, aside, isHealing: false, ...told }
  if (reply instanceof RedisConnectionError) return { ...settled, ...nothing }
  if (reply instanceof RedisReplyError) return { ...settled, ...nothing, failures: [...settled.failures, reply] }
  if (!Array.isArray(reply)) return { ...settled, ...nothing, leaseLost: true }
  const [from, after, claimed, lost, dueInMs, conditions, isHealing, text, now] = replyItems(reply)
  return {
    ...settled,
    from: replyAsText(from),
    cursor: replyAsText(after),
    claimed: replyItems(claimed).map(asClaimed),
    lost: replyItems(lost).length,
    aside: setAsideOf(dueInMs, conditions),
    isHealing: isHealing === 1,
    ...seenBy(text, now),
    ...told,
  }
}

function asClaimed(item: RedisReply): ClaimedEntry {
  const [id, owner, idle, count] = replyItems(item)
  return {
    id: replyAsText(id),
    deliveryCount: Number(replyAsText(count)),
    from: { owner: replyAsText(owner), idleMs: Number(idle) },
  }
}
