import type { ConsumerKeys } from '../../core/keys.ts'
import { RedisReplyError } from '../../errors.ts'
import { LAST_ERROR_FIELDS, lineOf } from '../../group/last-error.ts'
import { laneKeys } from '../../group/ordering.ts'
import { replyAsText, replyItems } from '../../group/redis/commands/reply.ts'
import { parseXrange, xrange } from '../../group/redis/commands/xrange.ts'
import type { CallSender, RedisCall } from '../../group/redis/sender.ts'
import type { RedisReply } from '../../group/redis/transport.ts'
import { placesOf } from './order-lanes.ts'

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
export async function lastErrorsOf(
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
