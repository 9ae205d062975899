import type { GroupInfo } from '../../group/redis/commands/xinfo-groups.ts'
import type { StreamInfo } from '../../group/redis/commands/xinfo-stream.ts'
import type { CallSender } from '../../group/redis/sender.ts'
import { type AnswerOrRefusal, askQuestions } from '../ask.ts'
import { UnknownFactsCollector } from '../inspect/unknowns.ts'
import { groupsQuestion, readStreamAbsence, streamInfoQuestion, timeQuestion } from '../questions.ts'

/** What is known of a stream before its entries are read. */
export interface StreamFacts {
  readonly at: number
  readonly clock: 'server' | 'local'
  readonly state: 'stream' | 'missing'
  /** `undefined`: the server does not report it. */
  readonly info: StreamInfo | undefined
  readonly groups: readonly GroupInfo[]
  readonly unknowns: UnknownFactsCollector
}

/**
 * Asks what an analysis begins with. Whatever is refused for want of a right is left out, with the reason.
 *
 * @param options.isInfoNeeded Where the stream begins and ends must be known.
 * @throws {RedisConnectionError} No reply came.
 * @throws {RedisReplyError} The key holds no stream, or the server refuses to work at all.
 */
export async function askStreamFacts(
  sender: CallSender,
  stream: string,
  { isInfoNeeded }: { readonly isInfoNeeded: boolean },
): Promise<StreamFacts> {
  const { now, info, groups } = await askQuestions(sender, {
    now: timeQuestion,
    info: streamInfoQuestion(stream),
    groups: groupsQuestion(stream),
  })
  const unknowns = new UnknownFactsCollector()
  const isMissing = [info, groups].some(
    (answer) => 'refusal' in answer && readStreamAbsence(answer.refusal) === 'missing',
  )
  if (isInfoNeeded && !isMissing && 'refusal' in info) throw info.refusal
  const time = unlessNoRight(now)
  return {
    at: time && 'value' in time ? time.value : Date.now(),
    clock: time && 'value' in time ? 'server' : 'local',
    state: isMissing ? 'missing' : 'stream',
    info: isMissing ? undefined : unknowns.read('length', unlessNoRight(info)),
    groups: isMissing ? [] : (unknowns.read('groups', unlessNoRight(groups)) ?? []),
    unknowns,
  }
}

/** @throws {RedisReplyError} It was refused for another reason than that of rights, or of a command that is not there. */
function unlessNoRight<T>(answer: AnswerOrRefusal<T>): AnswerOrRefusal<T> {
  if ('value' in answer) return answer
  const { refusal } = answer
  if (refusal.is('NOPERM') || /unknown command/i.test(refusal.message)) return answer
  throw refusal
}

/** What is known of a stream that nobody waited for. */
export function noStreamFacts(): StreamFacts {
  const unknowns = new UnknownFactsCollector()
  return { at: Date.now(), clock: 'local', state: 'stream', info: undefined, groups: [], unknowns }
}
