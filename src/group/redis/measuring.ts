import { RedisReplyError } from '../../errors.ts'
import { slotConsumerNames } from '../consumer-names.ts'
import type { GroupAddress, GroupMeasurement } from '../group.ts'
import { replyItems } from './commands/reply.ts'
import { measureBacklogScript, UNKNOWN_LAG } from './scripts/measure.ts'
import type { ScriptCall } from './sender.ts'
import { isReplyError } from './sender.ts'
import type { RedisReply } from './transport.ts'

export function measureBacklogCall({ stream, group, keys, settings }: GroupAddress): ScriptCall {
  const leases = slotConsumerNames('poller', settings.maxPollers).map((name) => keys.slot(name))
  return { script: measureBacklogScript, keys: [stream, keys.deadLetters, keys.state, ...leases], args: [group] }
}

/** What the script measured, `undefined` where there is no group, or how the server refused it. */
export function parseBacklogMeasurement(reply: RedisReply | undefined): GroupMeasurement | RedisReplyError | undefined {
  if (isReplyError(reply, 'NOGROUP')) return undefined
  if (reply instanceof RedisReplyError) return reply
  const [pending, oldestPendingMs, lag, streamLength, deadLetters, pollers, sinceLastSuccessMs, parked, waiting] =
    replyItems(reply).map(Number) as [number, number, number, number, number, number, number, number, number]
  const backlog = {
    pending,
    parked,
    ...(waiting >= 0 && { waiting }),
    ...(oldestPendingMs !== UNKNOWN_LAG && { oldestPendingMs }),
    streamLength,
    deadLetters,
    ...(lag !== UNKNOWN_LAG && { lag }),
    ...(sinceLastSuccessMs !== UNKNOWN_LAG && { sinceLastSuccessMs }),
  }
  return { backlog, pollers }
}
