import { delayKeys } from '../../core/keys.ts'
import { replyAsText, replyItems } from '../../group/redis/commands/reply.ts'
import { UNREADABLE_SCORE } from '../../group/redis/scripts/delays.ts'
import type { RedisReply } from '../../group/redis/transport.ts'
import type { AnswersByName, QuestionsByName, ServerQuestion } from '../ask.ts'
import type { DelaysInspection } from './inspection.ts'
import type { UnknownFactsCollector } from './unknowns.ts'

/** What is delayed, as the sorted set has it. */
export interface DelayCounts {
  /** Events that wait for their time. */
  readonly delayed: number
  readonly delayedUnreadable: number
  /** When the first of them is due, in milliseconds since 1970; `undefined`: none waits. */
  readonly delayedUntil: number | undefined
}

/** Questions about a stream's delayed events; none where its name gives no keys. */
export function delayQuestions(stream: string): QuestionsByName<DelayCounts> | undefined {
  const key = delayedKey(stream)
  if (key === undefined) return undefined
  const above = String(UNREADABLE_SCORE)
  const within = ['-inf', `(${above}`] as const
  return {
    delayed: counting(key, ...within),
    delayedUnreadable: counting(key, above, '+inf'),
    delayedUntil: {
      call: ['zrangebyscore', key, ...within, 'WITHSCORES', 'LIMIT', 0, 1],
      right: '+zrangebyscore',
      read: readFirstTime,
    },
  }
}

/** What the answers say; `undefined` where nothing is delayed, or where the server does not say. */
export function delaysOf(
  told: Partial<AnswersByName<DelayCounts>>,
  at: number,
  unknowns: UnknownFactsCollector,
): DelaysInspection | undefined {
  const events = unknowns.read('delays', told.delayed)
  const unreadable = unknowns.read('delays', told.delayedUnreadable)
  const until = unknowns.read('delays', told.delayedUntil)
  if (events === undefined || unreadable === undefined || events + unreadable === 0) return undefined
  return { events, unreadable, ...(until !== undefined && { nextDueInMs: until - at }) }
}

function delayedKey(stream: string): string | undefined {
  try {
    return delayKeys(stream).delayed
  } catch {
    return undefined
  }
}

function counting(key: string, from: string, to: string): ServerQuestion<number> {
  return { call: ['zcount', key, from, to], right: '+zcount', read: Number }
}

/** Servers of RESP3 answer pairs of member and score. */
function readFirstTime(reply: RedisReply): number | undefined {
  const [first, score] = replyItems(reply)
  if (first === undefined) return undefined
  return Number(replyAsText(Array.isArray(first) ? (first[1] as RedisReply) : score))
}
