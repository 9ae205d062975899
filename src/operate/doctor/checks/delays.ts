import { delayKeys, isOwnedBy } from '../../../core/keys.ts'
import { formatCount, formatDurationRoughly } from '../../../core/words.ts'
import { waitingOf } from '../../inspect/delays.ts'
import { defineCheck } from '../check.ts'
import type { DelayAnswer, DelayFacts } from '../delay-facts.ts'
import { errorResult } from '../finding.ts'
import { listFirstNames, quoteForShell } from '../text.ts'

/** From so long on, what is due should be promoted: pollers are woken once a minute, and may have much to do. */
const OVERDUE_MS = 5 * 60_000

const NAMES = [
  'delayed',
  'delayedUnreadable',
  'delayedUntil',
  'delayFlag',
  'delayOwner',
  'delayEnded0',
  'delayEnded1',
] as const

/** Where a key holds something else, every call is refused as a whole. */
export const delayKeysCheck = defineCheck({
  check: 'delay-keys',
  scope: 'stream',
  needs: NAMES,
  look(facts, { stream }) {
    const owner = answerIn(facts.delayOwner)
    if (owner && !isOwnedBy(stream, owner))
      return [
        errorResult(
          `The keys of delayed events belong to stream "${owner}": nothing of ${quoteForShell(stream)} can be delayed`,
          'delay events of one of the two streams only, or rename one: their keys would be the same',
        ),
      ]
    const others = keysOfOtherType(facts, stream)
    if (others.length === 0) return []
    return [
      errorResult(
        `${listFirstNames(others)} ${others.length === 1 ? 'holds' : 'hold'} something else: no event can be delayed, cancelled or promoted`,
        `RENAME ${quoteForShell(others[0] as string)} to another name`,
      ),
    ]
  },
})

function keysOfOtherType(facts: DelayFacts, stream: string): readonly string[] {
  // a stream whose name gives no keys was not asked about
  if (facts.delayed === undefined) return []
  const { delayed, next, events, ended } = delayKeys(stream)
  const keys = {
    delayedUntil: delayed,
    delayFlag: next,
    delayOwner: events,
    delayEnded0: ended[0],
    delayEnded1: ended[1],
  } as const
  return Object.entries(keys).flatMap(([name, key]) =>
    facts[name as keyof typeof keys] === 'another type' ? [key] : [],
  )
}

/** What is due must be promoted. */
export const overdueCheck = defineCheck({
  check: 'overdue',
  scope: 'stream',
  needs: NAMES,
  look(facts, { now, stream }) {
    const events = waitingOf(answerIn(facts.delayed) ?? 0, answerIn(facts.delayedUnreadable) ?? 0)
    const [until, flag] = [answerIn(facts.delayedUntil), answerIn(facts.delayFlag)]
    if (until === undefined || now - until < OVERDUE_MS) return []
    const { next } = delayKeys(stream)
    const isSeen = flag === undefined || (flag !== '' && Number(flag) <= now)
    const seen = `${formatCount(events, 'event is', 'events are')} delayed, and the first has been due for ${formatDurationRoughly(now - until)}`
    return [
      isSeen
        ? errorResult(
            `${seen}: nobody promotes them`,
            'give one consumer of the stream delays: promoteDelays(), and see that its poller runs',
          )
        : errorResult(
            `${seen}: no run looks, since ${next} ${flag === '' ? 'is gone' : 'says later'}`,
            `SET ${quoteForShell(next)} 0: the next run looks, and sets it right`,
          ),
    ]
  },
})

/** What cannot be read does not come, and must not be forgotten. */
export const unreadableDelaysCheck = defineCheck({
  check: 'unreadable-delays',
  scope: 'stream',
  needs: NAMES,
  look({ delayedUnreadable }, { stream }) {
    const events = answerIn(delayedUnreadable) ?? 0
    if (events === 0) return []
    const { delayed, next } = delayKeys(stream)
    const keys = `2 ${quoteForShell(delayed)} ${quoteForShell(next)}`
    return [
      errorResult(
        `${formatCount(events, 'delayed event')} cannot be read, and ${events === 1 ? 'is' : 'are'} set aside: a newer version of this package wrote ${events === 1 ? 'it' : 'them'}, or somebody else`,
        `deploy the newest version of what promotes, then have it read them again: EVAL "${READ_AGAIN}" ${keys}`,
      ),
    ]
  },
})

/** Puts what is set aside back to its time, and has the next run look. */
const READ_AGAIN =
  "for _,m in ipairs(redis.call('ZRANGEBYSCORE',KEYS[1],'9e15','+inf')) do redis.call('ZINCRBY',KEYS[1],'-9e15',m) end redis.call('GETDEL',KEYS[2]) redis.call('SETNX',KEYS[2],0)"

function answerIn<T>(answer: DelayAnswer<T> | undefined): T | undefined {
  return typeof answer === 'object' ? answer.is : undefined
}
