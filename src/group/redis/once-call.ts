import type { Field } from '../../core/entry.ts'
import { delayKeys, publishedKey } from '../../core/keys.ts'
import type { OnceWithin, StreamTrim } from '../connection.ts'
import { replyAsText, replyItems } from './commands/reply.ts'
import { xadd } from './commands/xadd.ts'
import { ONCE_ANSWERS } from './scripts/marker.ts'
import { publishOnceScript } from './scripts/publish-once.ts'
import type { ScriptCall } from './sender.ts'
import type { CommandArgument, RedisReply, ReplyOrConnectionError } from './transport.ts'

/** By it, a call that the client sends again is known from another one for the same event. */
export function callNonce(): string {
  return crypto.randomUUID().slice(0, 8)
}

/** Appends an entry, unless its event id was published within the window. @param once `undefined`: in any case, without a marker. @param nowMs As `xadd` takes it. */
export function publishOnceCall(
  stream: string,
  fields: readonly Field[],
  trim: StreamTrim,
  once: OnceWithin | undefined,
  nowMs: number | undefined,
): ScriptCall {
  const { delayed, events } = delayKeys(stream)
  const keys = [stream, publishedKey(once?.markersOf ?? stream, once?.eventId ?? ''), delayed, events]
  const args: CommandArgument[] = once ? [once.eventId, callNonce(), once.windowMs] : ['', '', '']
  // a loop: `push` of many arguments has no room for them
  for (const argument of xadd(stream, fields, trim, nowMs).slice(2)) args.push(argument)
  return { script: publishOnceScript, keys, args }
}

/** Where an event is: an entry's id, or when it is due, in milliseconds since 1970. */
export function readPlace(reply: RedisReply): string | number {
  const place = replyAsText(replyItems(reply)[1])
  // a time before 1970 has it in front
  return place.indexOf('-') > 0 ? place : Number(place)
}

/** Whether a script says that an event was published before. */
export function isDuplicateReply(reply: ReplyOrConnectionError): boolean {
  return Array.isArray(reply) && reply[0] !== ONCE_ANSWERS.added
}
