import type { Field } from '../../core/entry.ts'
import { delayKeys } from '../../core/keys.ts'
import type { StreamTrim } from '../connection.ts'
import type { EventDelay } from '../delays.ts'
import { replyAsText, replyItems } from './commands/reply.ts'
import { delayEventScript } from './scripts/delay-event.ts'
import type { ScriptCall } from './sender.ts'
import type { CommandArgument, RedisReply } from './transport.ts'

/** Keys as every script of delayed events takes them. */
export function delayKeyArguments(stream: string): readonly string[] {
  const { delayed, events, next, ended } = delayKeys(stream)
  return [stream, delayed, events, next, ...ended]
}

/** Delays an event instead of appending its entry. @param groups To wake when it is promoted. */
export function delayCall(
  stream: string,
  fields: readonly Field[],
  trim: StreamTrim,
  delay: EventDelay,
  groups: readonly string[],
): ScriptCall {
  const [how, ms] = 'delayMs' in delay ? ['in', delay.delayMs] : ['at', Math.max(0, delay.deliverAt)]
  const args: CommandArgument[] = [
    delay.eventId,
    how,
    ms,
    trimText(trim),
    crypto.randomUUID().slice(0, 8),
    groups.length,
    ...groups,
  ]
  for (const [name, value] of fields) args.push(name, value)
  return { script: delayEventScript, keys: delayKeyArguments(stream), args }
}

/** When the event is due, in milliseconds since 1970. */
export function readDueTime(reply: RedisReply): number {
  return Number(replyAsText(replyItems(reply)[1]))
}

function trimText(trim: StreamTrim): string {
  if (trim.kind === 'none') return ''
  const how = trim.exact ? '=' : '~'
  return trim.kind === 'length' ? `MAXLEN ${how} ${trim.maxLength}` : `MINID ${how} ${Math.ceil(trim.retentionMs)}`
}
