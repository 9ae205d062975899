import type { AppendResult, Connection, WakeFlag } from '../connection.ts'
import type { Delaying, PromotedPage } from '../delays.ts'
import { replyAsText, replyItems } from './commands/reply.ts'
import { delayKeyArguments } from './delay-call.ts'
import { Raising } from './raising.ts'
import { createOperatorSender } from './redis-connection.ts'
import { toReplyError } from './reply-errors.ts'
import { promoteDelayedScript } from './scripts/promote-delayed.ts'
import type { CallSender } from './sender.ts'

/** What promotes delayed events, and raises flags as publishers do. */
export interface DelayPromotion extends Pick<Delaying, 'promote'> {
  /** @returns Whether each flag was raised; false if it stood already. */
  raise(stream: string, flags: readonly WakeFlag[]): Promise<AppendResult['raised']>
}

/**
 * What promotes over a connection. A connection to a server does not have it: `promoteDelays` brings it along.
 *
 * @param remainingMs Milliseconds in which an answer is still of use. Default: no end.
 */
export function promotionOf(action: string, redis: Connection, remainingMs?: () => number): DelayPromotion {
  const { delaying, append } = redis
  if (delaying && append)
    return {
      promote: (stream) => delaying.promote(stream),
      raise: async (stream, flags) => (await append(stream, [], { kind: 'none' }, flags)).raised,
    }
  const sender = createOperatorSender(action, redis, remainingMs)
  return { promote: (stream) => promote(sender, stream), raise: (_stream, flags) => raise(sender, flags) }
}

async function promote(sender: CallSender, stream: string): Promise<PromotedPage> {
  const reply = await sender.call({ script: promoteDelayedScript, keys: delayKeyArguments(stream), args: [] })
  const [promoted, now, next, unreadable, refusal, ...groups] = replyItems(reply)
  const [nextDueAt, refused] = [replyAsText(next), replyAsText(refusal)]
  return {
    promoted: Number(promoted),
    unreadable: Number(unreadable),
    nowMs: Number(replyAsText(now)),
    nextDueAt: nextDueAt === '' ? undefined : Number(nextDueAt),
    groups: groups.map(replyAsText),
    refusal: refused === '' ? undefined : toReplyError(refused),
  }
}

async function raise(sender: CallSender, flags: readonly WakeFlag[]): Promise<AppendResult['raised']> {
  const raising = new Raising(flags)
  return raising.finish(sender, await sender.ask(raising.commands))
}
