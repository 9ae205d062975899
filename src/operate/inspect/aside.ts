import { parseCondition } from '../../core/condition.ts'
import { COUNTS, RUNNING } from '../../core/due-score.ts'
import type { ConsumerKeys } from '../../core/keys.ts'
import { RedisReplyError } from '../../errors.ts'
import { IN_ORDER_FROM, IN_ORDER_TO } from '../../group/ordering.ts'
import { replyAsText, replyItems } from '../../group/redis/commands/reply.ts'
import type { CallSender, RedisCall } from '../../group/redis/sender.ts'
import type { RedisReply } from '../../group/redis/transport.ts'
import type { ServerQuestion } from '../ask.ts'
import { ageOfEntryIfKnown } from './ages.ts'
import type { ConditionInspection, TimedInspection, TimedSample, WaitingInspection } from './inspection.ts'

/** Conditions that are inspected at most, by a claimer too. */
const MAX_CONDITIONS = 100
/** Members of an index that one request brings. */
const PAGE = 100

/** Both indexes of what is set aside, or how the server refused to show one. */
export interface Aside {
  readonly byTime: TimedInspection | RedisReplyError
  readonly byCondition: WaitingInspection | RedisReplyError
}

/** The requests that show what comes back at a time. */
export function timedCalls({ due }: Pick<ConsumerKeys, 'due'>, at: number): readonly RedisCall[] {
  return [
    ['zcount', due, '-inf', `(${RUNNING}`],
    ['zcount', due, '-inf', at * COUNTS + COUNTS - 1],
    ['zcount', due, RUNNING, '+inf'],
    ['zcount', due, '-inf', `(${COUNTS}`],
    ['zrangebyscore', due, COUNTS, `(${RUNNING}`, 'WITHSCORES', 'LIMIT', 0, PAGE],
  ]
}

/** What those requests answer. */
export function timedOf(replies: readonly RedisReply[], at: number): TimedInspection | RedisReplyError {
  const refusal = replies.find((reply) => reply instanceof RedisReplyError)
  if (refusal) return refusal
  const [entries, due, running, handedBack] = replies.slice(0, 4).map(Number) as [number, number, number, number]
  const first = membersOf(replies[4] ?? null)
  const [next] = first
  if (next === undefined) return { entries, due, handedBack, running }
  return {
    entries,
    due,
    handedBack,
    running,
    nextDueInMs: Math.floor(next.score / COUNTS) - at,
    sample: sampleOf(first, at),
  }
}

interface TimedMember {
  readonly id: string
  /** Milliseconds since 1970 × 1,024 + the delivery count. */
  readonly score: number
}

/** Servers of RESP3 answer pairs of member and score. */
function membersOf(reply: RedisReply): readonly TimedMember[] {
  const flat = (replyItems(reply).flat() as RedisReply[]).map(replyAsText)
  return Array.from({ length: flat.length / 2 }, (_, n) => ({ id: flat[2 * n] ?? '', score: Number(flat[2 * n + 1]) }))
}

function sampleOf(members: readonly TimedMember[], at: number): TimedSample {
  const waiting = members.filter(({ score }) => score % COUNTS === 0)
  const ages = waiting.flatMap(({ id }) => (isEntryId(id) ? (ageOfEntryIfKnown(id, at) ?? []) : []))
  return {
    sampled: members.length,
    atNoDelivery: waiting.length,
    ...(ages.length > 0 && { oldestAgeMs: Math.max(...ages) }),
  }
}

/** Whoever writes into an index may write anything. */
function isEntryId(text: string): boolean {
  return /^\d{1,20}-\d{1,20}$/.test(text)
}

/**
 * Inspects what is set aside, by commands whose cost does not grow with it: one round trip, and at most two more for each hundred entries or each condition that are met
 * on the way from one condition to the next.
 */
export async function inspectAside(sender: CallSender, keys: ConsumerKeys, at: number): Promise<Aside> {
  const calls = timedCalls(keys, at)
  const replies = (await sender.send([...calls, ['zcard', keys.waiting]])) as RedisReply[]
  const entries = replies[calls.length] as RedisReply
  return {
    byTime: timedOf(replies.slice(0, calls.length), at),
    byCondition: entries instanceof RedisReplyError ? entries : await inspectWaiting(sender, keys, Number(entries), at),
  }
}

/** How much of a group waits in order, whatever for; 0 where no order is kept. */
export function inOrderQuestion({ waiting }: Pick<ConsumerKeys, 'waiting'>): ServerQuestion<number> {
  return { call: ['zlexcount', waiting, `[${IN_ORDER_FROM}`, `(${IN_ORDER_TO}`], right: '+zlexcount', read: Number }
}

/** Inspects what waits for a condition other than its turn within its key. @param entries How many wait, for whatever. */
export async function inspectWaiting(
  sender: CallSender,
  keys: ConsumerKeys,
  entries: number,
  at: number,
): Promise<WaitingInspection | RedisReplyError> {
  if (entries === 0) return { entries, conditions: [] }
  const found = await findConditions(sender, keys)
  if (found instanceof RedisReplyError) return found
  const counts = (await sender.send([
    ...[...found.keys()].map(
      (condition) => ['zlexcount', keys.waiting, startOfCondition(condition), endOfCondition(condition)] as const,
    ),
    inOrderQuestion(keys).call,
  ])) as RedisReply[]
  const refusal = counts.find((reply) => reply instanceof RedisReplyError)
  if (refusal) return refusal
  const conditions = [...found].map(([condition, oldestId], n): ConditionInspection => {
    const oldestAgeMs = ageOfEntryIfKnown(oldestId, at)
    return {
      ...parseCondition(condition),
      entries: Number(counts[n]),
      oldestId,
      ...(oldestAgeMs !== undefined && { oldestAgeMs }),
    }
  })
  return { entries: Math.max(0, entries - Number(counts.at(-1))), conditions }
}

/** Conditions that something waits for, each with the lowest of its ids: from one to the next, whatever waits for either. What waits in order has as many as there are keys: these are passed. */
export async function findConditions(
  sender: CallSender,
  { waiting }: Pick<ConsumerKeys, 'waiting'>,
): Promise<Map<string, string> | RedisReplyError> {
  const found = new Map<string, string>()
  let from = '-'
  // what is no member of ours is passed page by page: not for ever
  for (let looks = 0; looks < 2 * MAX_CONDITIONS && found.size < MAX_CONDITIONS; looks++) {
    const [reply = null] = (await sender.send([['zrangebylex', waiting, from, '+', 'LIMIT', 0, PAGE]])) as RedisReply[]
    if (reply instanceof RedisReplyError) return reply
    const page = replyItems(reply).map(replyAsText)
    const last = page.at(-1)
    if (last === undefined) break
    addConditions(found, page)
    const { condition } = memberOf(last) ?? {}
    if (condition?.startsWith(IN_ORDER_FROM)) from = `(${IN_ORDER_TO}`
    else from = condition === undefined ? `(${last}` : `[${condition}\u000b`
  }
  return found
}

/** A page begins where a condition does, or goes on with one that is known: the first member of a condition has its lowest id. */
function addConditions(found: Map<string, string>, page: readonly string[]): void {
  for (const member of page) {
    const { condition, id } = memberOf(member) ?? {}
    if (condition === undefined || id === undefined || found.has(condition)) continue
    if (condition.startsWith(IN_ORDER_FROM)) continue
    if (found.size < MAX_CONDITIONS) found.set(condition, id)
  }
}

/** A member of the index: a condition, a line feed, the id with the length of each of its numbers before it, the delivery count. */
export function memberOf(member: string): { readonly condition: string; readonly id: string } | undefined {
  const [, condition, ms, seq] = /^([^\n]*)\n[A-T](\d+)[A-T](\d+):\d+$/.exec(member) ?? []
  return condition === undefined ? undefined : { condition, id: `${ms}-${seq}` }
}

/** All that waits for a condition stands between these: it is one range, and no other condition has a place in it. */
export const startOfCondition = (condition: string) => `[${condition}\n`
export const endOfCondition = (condition: string) => `(${condition}\u000b`
