import { LONGEST_CONDITION, parseCondition } from '../../core/condition.ts'
import { COUNTS, RUNNING } from '../../core/due-score.ts'
import type { Entry } from '../../core/entry.ts'
import type { OpenBreaker } from '../../core/gates.ts'
import type { ConsumerKeys } from '../../core/keys.ts'
import { PARKED_CONSUMER } from '../../core/keys.ts'
import type { Pauses } from '../../core/pauses.ts'
import { isInEffect, WHOLE_GROUP } from '../../core/pauses.ts'
import { RedisReplyError } from '../../errors.ts'
import { LAST_ERROR_FIELDS, lineOf } from '../../group/last-error.ts'
import { LANES_FROM, laneKeys } from '../../group/ordering.ts'
import { replyAsText, replyItems } from '../../group/redis/commands/reply.ts'
import { parseXpending } from '../../group/redis/commands/xpending.ts'
import { parseXrange, xrange } from '../../group/redis/commands/xrange.ts'
import type { CallSender, RedisCall } from '../../group/redis/sender.ts'
import type { RedisReply } from '../../group/redis/transport.ts'
import { ageOfEntryIfKnown } from './ages.ts'
import { endOfCondition, findConditions, startOfCondition } from './aside.ts'
import type { FirstOfKeyInspection, KeyInspection } from './inspection.ts'
import { ask, idOfFirst, NO_ENTRY, placesOf, type WaitingLane } from './order-lanes.ts'

/** What is known of a group when its keys are named. */
export interface KeyContext {
  readonly group: string
  readonly keys: ConsumerKeys
  /** Milliseconds since 1970. */
  readonly at: number
  readonly breakers: readonly OpenBreaker[]
  readonly pauses: Pauses
  /** What the consumer that was given says of an entry. */
  readonly consumer?: OrderedConsumer | undefined
}

/** What a consumer that keeps order says of an entry. */
export interface OrderedConsumer {
  readonly typeField: string
  laneOf(entry: Entry): string
}

/**
 * What waits in each of some lanes, and what for: a request of five commands a lane, and one for the last errors, or three where keys wait for dead letters; two more, and one or two for each condition, where a first
 * entry waits for one.
 *
 * @throws {RedisReplyError} The server refuses one of them.
 */
export async function inspectKeys(
  sender: CallSender,
  lanes: readonly WaitingLane[],
  context: KeyContext,
): Promise<readonly KeyInspection[]> {
  const { group, keys, at } = context
  const { laneOf } = laneKeys(keys)
  const ids = lanes.map(({ first }) => idOfFirst(first))
  const asked = ask(
    sender,
    lanes.flatMap(({ lane }, n) => {
      const id = ids[n] as string
      return [
        ['zlexcount', keys.waiting, startOfCondition(lane), endOfCondition(lane)],
        ['xpending', keys.stream, group, id, id, 1],
        xrange(keys.stream, id, id, 1),
        ['zscore', keys.due, id],
        ['hmget', laneOf, id],
      ] as const
    }),
  )
  const firsts = lanes.map(({ lane, first }, n) => ({ lane, id: ids[n] as string, isLetter: first.startsWith('#') }))
  const [replies, errors] = await Promise.all([asked, lastErrorsOf(sender, keys, firsts)])
  const seen = lanes.map((lane, n) => {
    const [waiting, ...of] = replies.slice(5 * n, 5 * n + 5)
    const first = firstOf(ids[n] as string, lane, of, context)
    return { lane, waiting: Number(waiting), first: errors[n] ? { ...first, error: errors[n] } : first }
  })
  const conditions = seen.some(({ first }) => first.state === 'condition') ? await conditionsOf(sender, keys) : []
  return Promise.all(
    seen.map(async ({ lane: { lane, oldestId }, waiting, first }) => ({
      ...keyOfLane(lane),
      waiting,
      oldestId,
      ...ageOf(oldestId, at),
      first: first.state === 'condition' ? await withCondition(sender, first, conditions, context) : first,
    })),
  )
}

/** Characters of a long key that its lane spells out. */
const CUT_KEY = LONGEST_CONDITION - '='.length

/** The key of a lane; the start of it where it is long. */
export function keyOfLane(lane: string): { readonly key: string; readonly isCut?: true } {
  const raw = lane.slice(LANES_FROM.length)
  const [, cut = ''] = /^(.*)~[0-9a-f]{40}$/su.exec(raw) ?? []
  const isCut = cut.length === CUT_KEY
  const key = parseCondition(`k ${isCut ? cut : raw}`).what
  return isCut ? { key, isCut } : { key }
}

function ageOf(id: string, at: number): { readonly ageMs?: number } {
  const ageMs = id === NO_ENTRY ? undefined : ageOfEntryIfKnown(id, at)
  return ageMs === undefined ? {} : { ageMs }
}

function firstOf(
  id: string,
  { lane, first }: WaitingLane,
  [pending = null, found = null, score = null, known = null]: readonly RedisReply[],
  { at, pauses, consumer }: KeyContext,
): FirstOfKeyInspection {
  const [row] = parseXpending(pending)
  const [entry] = parseXrange(found)
  const eventType = entry && fieldOf(entry, consumer?.typeField ?? 'eventType')
  const isPaused = [eventType, WHOLE_GROUP].some((type) => {
    const pause = type === undefined ? undefined : pauses.get(type)
    return pause !== undefined && isInEffect(pause, at)
  })
  const lives = entry && consumer ? consumer.laneOf(entry) : lane
  const about = {
    id,
    ...ageOf(id, at),
    ...(eventType !== undefined && { eventType }),
    ...(isPaused && { isPaused }),
    ...(lives !== lane && { keyNow: lives.startsWith(LANES_FROM) ? keyOfLane(lives).key : '' }),
  }
  if (row === undefined) return { ...about, state: first.startsWith('#') ? 'dead-letter' : 'not-pending' }
  const { consumerName, deliveryCount } = row
  if (consumerName !== PARKED_CONSUMER) return { ...about, state: 'in-hand', consumerName, deliveryCount }
  if (replyAsText(replyItems(known)[0]).startsWith('!')) return { ...about, state: 'suspect', deliveryCount }
  const due = score === null ? Number.NaN : Number(replyAsText(score))
  if (Number.isNaN(due) || due >= RUNNING) return { ...about, state: 'condition', deliveryCount }
  return { ...about, state: 'time', deliveryCount, dueInMs: Math.floor(due / COUNTS) - at }
}

function fieldOf({ fields }: Entry, name: string): string | undefined {
  const field = fields.find(([one]) => String(one) === name)
  return field && String(field[1])
}

async function conditionsOf(sender: CallSender, keys: ConsumerKeys): Promise<readonly string[]> {
  const found = await findConditions(sender, keys)
  if (found instanceof RedisReplyError) throw found
  return [...found.keys()]
}

async function withCondition(
  sender: CallSender,
  first: FirstOfKeyInspection,
  conditions: readonly string[],
  { keys, breakers }: KeyContext,
): Promise<FirstOfKeyInspection> {
  const counts = await ask(
    sender,
    conditions.map((condition) => {
      return ['zlexcount', keys.waiting, ...placesOf(condition, first.id)]
    }),
  )
  const at = counts.findIndex((count) => Number(count) > 0)
  if (at < 0) return first
  const condition = parseCondition(conditions[at] as string)
  const breaker = breakers.find(({ eventType }) => eventType === first.eventType)
  const error = first.error ?? (condition.reason === 'circuitBreaker' ? breaker?.error : undefined)
  return { ...first, condition, ...(error && { error }) }
}

/** The first of a lane: an entry, or that of a dead letter. */
interface First {
  readonly lane: string
  readonly id: string
  readonly isLetter: boolean
}

/**
 * What the first entries of lanes failed with last, `''` where nobody knows: one request, and two more where keys wait for dead letters, which have it themselves. What the server refuses is unknown.
 *
 * @throws {RedisConnectionError} No reply came.
 */
async function lastErrorsOf(
  sender: CallSender,
  keys: ConsumerKeys,
  firsts: readonly First[],
): Promise<readonly string[]> {
  if (firsts.length === 0) return []
  const [kept, ofLetters] = await Promise.all([
    askLeniently(sender, [['hmget', keys.state, ...firsts.map(({ id }) => `${LAST_ERROR_FIELDS}${id}`)]]),
    errorsOfLetters(
      sender,
      keys,
      firsts.filter(({ isLetter }) => isLetter),
    ),
  ])
  const texts = replyItems(kept[0]).map((text) => lineOf('', replyAsText(text)))
  return firsts.map((first, n) => (first.isLetter ? ofLetters.get(first) : texts[n]) ?? '')
}

/** By the places that lanes wait for. */
async function errorsOfLetters(
  sender: CallSender,
  keys: ConsumerKeys,
  firsts: readonly First[],
): Promise<ReadonlyMap<First, string>> {
  const { awaited } = laneKeys(keys)
  const places = await askLeniently(
    sender,
    firsts.map(({ lane, id }) => ['zrangebylex', awaited, ...placesOf(lane, id), 'LIMIT', 0, 1]),
  )
  const found = firsts.flatMap((first, n) => {
    const [, letter] = /:(\d+-\d+)$/.exec(replyAsText(replyItems(places[n])[0])) ?? []
    return letter === undefined ? [] : [{ first, letter }]
  })
  const letters = await askLeniently(
    sender,
    found.map(({ letter }) => xrange(keys.deadLetters, letter, letter, 1)),
  )
  return new Map(
    found.map(({ first }, n) => {
      const [letter] = parseXrange(letters[n] ?? null)
      const field = (name: string) => String(letter?.fields.find(([one]) => String(one) === name)?.[1] ?? '')
      return [first, lineOf(field('errorName'), field('errorMessage'))]
    }),
  )
}

/** @returns The replies, `null` for what was refused. */
async function askLeniently(sender: CallSender, calls: readonly RedisCall[]): Promise<readonly RedisReply[]> {
  if (calls.length === 0) return []
  return (await sender.send(calls)).map((reply) => (reply instanceof RedisReplyError ? null : reply))
}
