import { systemClock } from '../../clock.ts'
import { VersionConflictError } from '../../core/aggregate-errors.ts'
import { aggregateKey } from '../../core/keys.ts'
import type { ExpectingEntry } from '../aggregates.ts'
import type { Aggregates, Connection, StreamTrim } from '../connection.ts'
import { askInOrder } from './ask-in-order.ts'
import { replyAsText, replyItems } from './commands/reply.ts'
import { timeCommand } from './commands/time.ts'
import { xadd } from './commands/xadd.ts'
import { Raising } from './raising.ts'
import { createOperatorSender } from './redis-connection.ts'
import { appendExpectingScript, EXPECTING_ANSWERS } from './scripts/append-expecting.ts'
import type { ScriptCall } from './sender.ts'
import { isUnanswered } from './sender.ts'
import { ServerClock } from './server-clock.ts'
import type { CommandArgument, RedisReply } from './transport.ts'

/** What appends events at versions over a connection. A connection to a server does not have it: the publisher brings it along. */
export function createExpectingAppender(action: string, redis: Connection): Aggregates['append'] {
  const { aggregates } = redis
  if (aggregates) return (...call) => aggregates.append(...call)
  const sender = createOperatorSender(action, redis)
  const clock = new ServerClock(systemClock)
  return async (stream, entries, trim, flags = []) => {
    if (trim.kind === 'age' && (clock.now() === undefined || clock.isStale))
      clock.learn((await sender.send([timeCommand]))[0] ?? null)
    const raising = new Raising(flags)
    const call = appendExpectingCall(stream, entries, trim, clock.now())
    const [reply = null, ...others] = await askInOrder(sender, [call], raising.commands)
    if (isUnanswered(reply)) throw reply
    const answers = reply instanceof Error ? entries.map(() => reply) : readAnswers(stream, entries, reply)
    return { answers, raised: await raising.finish(sender, others) }
  }
}

function appendExpectingCall(
  stream: string,
  entries: readonly ExpectingEntry[],
  trim: StreamTrim,
  nowMs: number | undefined,
): ScriptCall {
  const keys = [stream]
  const before = xadd(stream, [], trim, nowMs).slice(2)
  const args: CommandArgument[] = [entries.length, before.length, ...before]
  for (const { aggregateType, aggregateId, expectedVersion, idField, fields } of entries) {
    const key = aggregateKey(stream, aggregateType, aggregateId)
    if (!keys.includes(key, 1)) keys.push(key)
    args.push(keys.indexOf(key, 1), expectedVersion, idField + 1, fields.length)
    for (const field of fields) args.push(field[0], field[1])
  }
  return { script: appendExpectingScript, keys, args }
}

function readAnswers(
  stream: string,
  entries: readonly ExpectingEntry[],
  reply: RedisReply,
): readonly (string | VersionConflictError)[] {
  const [answer, ...told] = replyItems(reply)
  if (answer === EXPECTING_ANSWERS.added) return told.map(replyAsText)
  const [n, version] = told
  const refused = entries[Number(n) - 1] as ExpectingEntry
  const conflict = new VersionConflictError(
    { stream, ...refused },
    refused.expectedVersion,
    Number(replyAsText(version)),
  )
  return entries.map(() => conflict)
}
