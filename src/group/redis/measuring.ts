import { RedisReplyError } from '../../errors.ts'
import { slotNames } from '../consumer-names.ts'
import type { GroupAddress, Measured } from '../group.ts'
import { items } from './commands/reply.ts'
import { measure, UNKNOWN } from './scripts/measure.ts'
import type { Call } from './sender.ts'
import { isReplyError } from './sender.ts'
import type { Reply } from './transport.ts'

export function measureCall({ stream, group, keys, settings }: GroupAddress): Call {
  const leases = slotNames('poller', settings.maxPollers).map((name) => keys.slot(name))
  return { script: measure, keys: [stream, keys.deadLetters, keys.state, ...leases], args: [group] }
}

/** What the script measured, `undefined` where there is no group, or how the server refused it. */
export function measuredOf(reply: Reply | undefined): Measured | RedisReplyError | undefined {
  if (isReplyError(reply, 'NOGROUP')) return undefined
  if (reply instanceof RedisReplyError) return reply
  const [pending, oldestPendingMs, lag, streamLength, deadLetters, pollers, sinceLastSuccessMs, parked] = items(
    reply,
  ).map(Number) as [number, number, number, number, number, number, number, number]
  const backlog = {
    pending,
    parked,
    ...(oldestPendingMs !== UNKNOWN && { oldestPendingMs }),
    streamLength,
    deadLetters,
    ...(lag !== UNKNOWN && { lag }),
    ...(sinceLastSuccessMs !== UNKNOWN && { sinceLastSuccessMs }),
  }
  return { backlog, pollers }
}
