import type { OpenBreaker } from '../../core/gates.ts'
import type { ConsumerKeys } from '../../core/keys.ts'
import { parsePauses } from '../../core/pauses.ts'
import { RedisReplyError } from '../../errors.ts'
import type { PendingEntry } from '../../group/redis/commands/xpending.ts'
import type { CallSender } from '../../group/redis/sender.ts'
import type { AnswerOrRefusal } from '../ask.ts'
import { inspectOrder, type SeenOrder } from './order.ts'
import type { ExpectedGroup } from './request.ts'
import type { UnknownFactsCollector } from './unknowns.ts'

/** A group, and what the server said of it already. */
interface ToldGroup {
  readonly group: string
  readonly keys: ConsumerKeys | undefined
  readonly expected: ExpectedGroup | undefined
  /** Milliseconds since 1970. */
  readonly at: number
  readonly told: {
    readonly breakers?: AnswerOrRefusal<readonly OpenBreaker[]>
    readonly paused?: AnswerOrRefusal<string>
    readonly inOrder?: AnswerOrRefusal<number>
    readonly sample?: AnswerOrRefusal<readonly PendingEntry[]>
  }
}

/** What waits in order, and the key of what is pending longest; `undefined` where no order is kept, or the server refuses. */
export async function orderOfGroup(
  sender: CallSender,
  { group, keys, expected, at, told }: ToldGroup,
  unknowns: UnknownFactsCollector,
): Promise<SeenOrder | undefined> {
  const keepsOrder = expected?.ordered !== undefined || toldOr(told.inOrder, 0) > 0
  if (!keys || !keepsOrder) return undefined
  const breakers = toldOr(told.breakers, [])
  const pauses = parsePauses(toldOr(told.paused, ''))
  const [oldest] = toldOr(told.sample, [])
  const context = { group, keys, at, breakers, pauses, consumer: expected?.ordered }
  try {
    const seen = await inspectOrder(sender, context, oldest?.id)
    if (seen.refusal) unknowns.keep('order', seen.refusal)
    return seen
  } catch (error) {
    if (!(error instanceof RedisReplyError)) throw error
    return unknowns.keep<SeenOrder>('order', error)
  }
}

function toldOr<T>(told: AnswerOrRefusal<T> | undefined, otherwise: T): T {
  return told && 'value' in told ? told.value : otherwise
}
