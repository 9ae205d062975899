import { type DelayKeys, delayKeys } from '../../core/keys.ts'
import { replyAsText, replyItems } from '../../group/redis/commands/reply.ts'
import { DELAYED_COUNTS_FIELD, UNREADABLE_SCORE } from '../../group/redis/scripts/delayed-counts.ts'
import type { RedisReply } from '../../group/redis/transport.ts'
import type { AnswersByName, QuestionsByName } from '../ask.ts'
import type { DelaysInspection } from './inspection.ts'
import type { UnknownFactsCollector } from './unknowns.ts'

/** What is delayed, as the server counts it. */
export interface DelayCounts {
  /** Events, those that cannot be read included. */
  readonly delayed: number
  readonly delayedUnreadable: number
  /** When the first of them is due, in milliseconds since 1970; `undefined`: none waits. */
  readonly delayedUntil: number | undefined
}

/** Questions about a stream's delayed events; none where its name gives no keys. */
export function delayQuestions(stream: string): QuestionsByName<DelayCounts> | undefined {
  const keys = delayKeysOf(stream)
  if (keys === undefined) return undefined
  const { delayed: key, events } = keys
  const above = String(UNREADABLE_SCORE)
  const within = ['-inf', `(${above}`] as const
  return {
    delayed: { call: ['hget', events, DELAYED_COUNTS_FIELD], right: '+hget', read: readCount },
    delayedUnreadable: { call: ['zcount', key, above, '+inf'], right: '+zcount', read: Number },
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
  const all = unknowns.read('delays', told.delayed)
  const unreadable = unknowns.read('delays', told.delayedUnreadable)
  const until = unknowns.read('delays', told.delayedUntil)
  if (all === undefined || unreadable === undefined || all + unreadable === 0) return undefined
  return { events: waitingOf(all, unreadable), unreadable, ...(until !== undefined && { nextDueInMs: until - at }) }
}

/** Of all that are delayed, those that can be read. */
export function waitingOf(all: number, unreadable: number): number {
  return Math.max(0, all - unreadable)
}

function delayKeysOf(stream: string): DelayKeys | undefined {
  try {
    return delayKeys(stream)
  } catch {
    return undefined
  }
}

function readCount(reply: RedisReply): number {
  return Number(/^\d+/.exec(replyAsText(reply))?.[0] ?? 0)
}

/** Servers of RESP3 answer pairs of member and score. */
function readFirstTime(reply: RedisReply): number | undefined {
  const [first, score] = replyItems(reply)
  if (first === undefined) return undefined
  return Number(replyAsText(Array.isArray(first) ? (first[1] as RedisReply) : score))
}
