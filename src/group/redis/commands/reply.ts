import type { Field } from '../../../core/entry.ts'
import type { PlainReply } from '../../../core/plain-reply.ts'
import type { RedisReply, ReplyOrConnectionError } from '../transport.ts'

/** Readers of replies: the same for RESP2 and RESP3, for bytes and for text. */

/** The members of an array reply; none for a missing one. */
export function replyItems(reply: RedisReply | undefined): readonly RedisReply[] {
  return Array.isArray(reply) ? reply : []
}

/** A bulk string, bytes or text, as text; a missing one is empty. */
export function replyAsText(reply: RedisReply | undefined): string {
  return Buffer.isBuffer(reply) ? reply.toString() : String(reply ?? '')
}

/** A reply as policies get it: bulk strings as text, maps as arrays of names and values in turn. */
export function toPlainReply(reply: ReplyOrConnectionError | undefined): PlainReply {
  if (Buffer.isBuffer(reply)) return reply.toString()
  if (Array.isArray(reply)) return reply.map((item) => toPlainReply(item as RedisReply))
  if (reply instanceof Map) return [...reply].flat().map(toPlainReply)
  if (reply === null || reply === undefined || typeof reply !== 'object' || reply instanceof Error) return reply ?? null
  return Object.entries(reply)
    .flat()
    .map((item) => toPlainReply(item as RedisReply))
}

/** Fields as name, value, name, value. */
export function replyAsFields(reply: RedisReply | undefined): Field[] {
  const flat = replyItems(reply) as readonly (Buffer | string)[]
  const fields: Field[] = []
  for (let at = 0; at + 1 < flat.length; at += 2)
    fields.push([flat[at] as Buffer | string, flat[at + 1] as Buffer | string])
  return fields
}

/** A map reply, or RESP2's flat array of names and values, by name. */
export function replyAsRecord(reply: RedisReply | undefined): Record<string, RedisReply> {
  if (reply instanceof Map) return Object.fromEntries([...reply].map(([name, value]) => [replyAsText(name), value]))
  if (Array.isArray(reply)) return Object.fromEntries(replyAsFields(reply)) as Record<string, RedisReply>
  return (reply ?? {}) as Record<string, RedisReply>
}
