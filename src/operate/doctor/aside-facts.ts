import type { ConsumerKeys } from '../../core/keys.ts'
import { PARKED_CONSUMER } from '../../core/keys.ts'
import { RedisReplyError } from '../../errors.ts'
import { replyAsText, replyItems } from '../../group/redis/commands/reply.ts'
import type { CallSender, RedisCall } from '../../group/redis/sender.ts'
import type { RedisReply } from '../../group/redis/transport.ts'
import type { AnswerOrRefusal, AnswersByName } from '../ask.ts'
import { inspectWaiting, timedCalls, timedOf } from '../inspect/aside.ts'
import type { TimedInspection, WaitingInspection } from '../inspect/inspection.ts'

/** What is set aside, and its indexes. */
export interface AsideFacts {
  readonly byTime: TimedInspection
  readonly byCondition: WaitingInspection
  /** Keys of indexes that hold something else. */
  readonly notIndexes: readonly string[]
  /** `undefined`: it changed while it was counted. */
  readonly places: Places | undefined
}

/** How much is set aside, and how many places the indexes have for it. */
export interface Places {
  readonly parked: number
  readonly indexed: number
  /** What `parked` was above `indexed` when all was compared last. */
  readonly known: number
  /** A group that was made again has yet to get some of it back. */
  readonly isHealing: boolean
}

/** Runs change both numbers, and each command sees a moment of its own: a difference counts that is there so many times. */
const LOOKS = 3
const RIGHT = '+zcount +zcard +zrangebyscore +zrangebylex +zlexcount'
const NONE = { entries: 0, due: 0, handedBack: 0, running: 0 }

/** Asks about what a group has set aside: one round trip, some more where numbers differ, and one or two for each condition. */
export async function askAside(
  sender: CallSender,
  group: string,
  keys: ConsumerKeys,
  at: number,
): Promise<AnswersByName<AsideFacts>> {
  const looks: AnswerOrRefusal<Places | undefined>[] = []
  let replies: Replies
  do {
    replies = await lookAt(sender, group, keys, at)
    looks.push(placesOf(replies))
  } while (looks.length < LOOKS && mayDiffer(looks.at(-1)))
  return { ...(await indexesOf(sender, keys, replies, at)), places: lastingOf(looks) }
}

async function indexesOf(
  sender: CallSender,
  keys: ConsumerKeys,
  { timed, waiting }: Replies,
  at: number,
): Promise<Omit<AnswersByName<AsideFacts>, 'places'>> {
  const byTime = timedOf(timed, at)
  const byCondition =
    waiting instanceof RedisReplyError ? waiting : await inspectWaiting(sender, keys, Number(waiting), at)
  const others = [...(isOfOtherType(byTime) ? [keys.due] : []), ...(isOfOtherType(byCondition) ? [keys.waiting] : [])]
  return {
    byTime: toldOf(byTime, NONE),
    byCondition: toldOf(byCondition, { entries: 0, conditions: [] }),
    notIndexes: { value: others },
  }
}

interface Replies {
  readonly pending: readonly [before: RedisReply, after: RedisReply]
  readonly timed: readonly RedisReply[]
  readonly waiting: RedisReply
  readonly repaired: RedisReply
  readonly healing: RedisReply
}

async function lookAt(sender: CallSender, group: string, keys: ConsumerKeys, at: number): Promise<Replies> {
  const { stream, waiting, state } = keys
  const pending: RedisCall = ['xpending', stream, group]
  const timed = timedCalls(keys, at)
  const beside: RedisCall[] = [
    ['zcard', waiting],
    ['hget', state, 'repaired'],
    ['hget', state, 'healing'],
  ]
  const replies = (await sender.send([pending, ...timed, ...beside, pending])) as RedisReply[]
  const [places = null, repaired = null, healing = null, after = null] = replies.slice(1 + timed.length)
  return {
    pending: [replies[0] ?? null, after],
    timed: replies.slice(1, 1 + timed.length),
    waiting: places,
    repaired,
    healing,
  }
}

/** No value where entries were set aside, or came back, meanwhile. */
function placesOf({ pending, timed, waiting, repaired, healing }: Replies): AnswerOrRefusal<Places | undefined> {
  const [before, after] = pending
  const refusal = [before, after, timed[0], waiting, repaired, healing].find(
    (reply) => reply instanceof RedisReplyError,
  )
  // a lost group has nothing pending; an index of another type is a finding of its own
  if (refusal && (refusal.is('NOGROUP') || isOfOtherType(refusal))) return { value: undefined }
  if (refusal) return { refusal, right: RIGHT }
  const parked = parkedIn(after)
  if (parked !== parkedIn(before)) return { value: undefined }
  const [, known = '0'] = /^\d+ (-?\d+)$/.exec(replyAsText(repaired)) ?? []
  return {
    value: { parked, indexed: Number(timed[0]) + Number(waiting), known: Number(known), isHealing: healing !== null },
  }
}

function parkedIn(pending: RedisReply): number {
  const owners = replyItems(replyItems(pending)[3]).map((item) => replyItems(item).map(replyAsText))
  return Number(owners.find(([name]) => name === PARKED_CONSUMER)?.[1] ?? 0)
}

function mayDiffer(told: AnswerOrRefusal<Places | undefined> | undefined): boolean {
  return told !== undefined && 'value' in told && (told.value === undefined || differenceOf(told.value) !== 0)
}

/** The last look's, unless an earlier one saw another difference. */
function lastingOf(looks: readonly AnswerOrRefusal<Places | undefined>[]): AnswerOrRefusal<Places | undefined> {
  const last = looks.at(-1) ?? { value: undefined }
  if (!('value' in last) || last.value === undefined) return last
  const difference = differenceOf(last.value)
  const isLasting = looks.every((look) => 'value' in look && look.value && differenceOf(look.value) === difference)
  return difference === 0 || isLasting ? last : { value: undefined }
}

function differenceOf({ parked, indexed }: Places): number {
  return parked - indexed
}

function toldOf<T>(seen: T | RedisReplyError, none: T): AnswerOrRefusal<T> {
  if (!(seen instanceof RedisReplyError)) return { value: seen }
  return isOfOtherType(seen) ? { value: none } : { refusal: seen, right: RIGHT }
}

function isOfOtherType(seen: unknown): boolean {
  return seen instanceof RedisReplyError && seen.is('WRONGTYPE')
}
