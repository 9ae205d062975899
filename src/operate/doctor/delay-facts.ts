import { delayKeys } from '../../core/keys.ts'
import type { RedisReplyError } from '../../errors.ts'
import { replyAsText } from '../../group/redis/commands/reply.ts'
import type { QuestionsByName, ServerQuestion } from '../ask.ts'
import { type DelayCounts, delayQuestions } from '../inspect/delays.ts'

/** An answer, or why there is none: the doctor reports it only where delays are used. */
export type DelayAnswer<T> = { readonly is: T } | 'another type' | 'not told'

type DelayFactsOf<Facts> = { readonly [Name in keyof Facts]: DelayAnswer<Facts[Name]> }

/** What the doctor asks of a stream's delayed events; absent for a stream whose name gives no keys. */
export interface DelayFacts extends DelayFactsOf<DelayCounts> {
  /** The flag of runs, in milliseconds since 1970; `''`: there is none. */
  readonly delayFlag: DelayAnswer<string>
  /** The stream that the keys belong to, and what ended; `''`: nobody wrote there. */
  readonly delayOwner: DelayAnswer<string>
  readonly delayEnded0: DelayAnswer<string>
  readonly delayEnded1: DelayAnswer<string>
}

export function delayFactQuestions(stream: string): QuestionsByName<DelayFacts> | object {
  const counts = delayQuestions(stream)
  if (!counts) return {}
  const { events, next, ended } = delayKeys(stream)
  const member = (key: string) => answered({ call: ['hget', key, ''], right: '+hget', read: replyAsText })
  return {
    delayed: answered(counts.delayed),
    delayedUnreadable: answered(counts.delayedUnreadable),
    delayedUntil: answered(counts.delayedUntil),
    delayFlag: answered({ call: ['get', next], right: '+get', read: replyAsText }),
    delayOwner: member(events),
    delayEnded0: member(ended[0]),
    delayEnded1: member(ended[1]),
  } satisfies QuestionsByName<DelayFacts>
}

function answered<T>(question: ServerQuestion<T>): ServerQuestion<DelayAnswer<T>> {
  return { ...question, read: (reply) => ({ is: question.read(reply) }), answerOf }
}

function answerOf(error: RedisReplyError): 'another type' | 'not told' | undefined {
  if (error.is('WRONGTYPE')) return 'another type'
  return error.is('NOPERM') ? 'not told' : undefined
}
