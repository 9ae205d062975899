import type { Field } from '../../core/entry.ts'
import { delayKeys, publishedKey } from '../../core/keys.ts'
import type { OnceWithin, StreamTrim } from '../connection.ts'
import type { EventDelay } from '../delays.ts'
import { callNonce } from './once-call.ts'
import { delayEventScript } from './scripts/delay-event.ts'
import type { ScriptCall } from './sender.ts'
import type { CommandArgument } from './transport.ts'

/** Keys as every script of delayed events takes them. */
export function delayKeyArguments(stream: string): readonly string[] {
  const { delayed, events, next, ended } = delayKeys(stream)
  return [stream, delayed, events, next, ...ended]
}

/** Delays an event instead of appending its entry. @param groups To wake when it is promoted. @param once Where its id is published once. */
export function delayCall(
  stream: string,
  fields: readonly Field[],
  trim: StreamTrim,
  delay: EventDelay,
  groups: readonly string[],
  once: OnceWithin | undefined,
): ScriptCall {
  const [how, ms] = 'delayMs' in delay ? ['in', delay.delayMs] : ['at', Math.max(0, delay.deliverAt)]
  const args: CommandArgument[] = [
    delay.eventId,
    how,
    ms,
    trimText(trim),
    callNonce(),
    groups.length,
    ...(once ? [once.windowMs] : []),
    ...groups,
  ]
  for (const [name, value] of fields) args.push(name, value)
  const keys = delayKeyArguments(stream)
  return {
    script: delayEventScript,
    keys: once ? [...keys, publishedKey(once.markersOf ?? stream, once.eventId)] : keys,
    args,
  }
}

function trimText(trim: StreamTrim): string {
  if (trim.kind === 'none') return ''
  const how = trim.exact ? '=' : '~'
  return trim.kind === 'length' ? `MAXLEN ${how} ${trim.maxLength}` : `MINID ${how} ${Math.ceil(trim.retentionMs)}`
}
