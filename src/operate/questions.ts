import type { Entry } from '../core/entry.ts'
import type { ConsumerKeys } from '../core/keys.ts'
import type { RedisReplyError } from '../errors.ts'
import { replyAsText } from '../group/redis/commands/reply.ts'
import { parseTime, timeCommand } from '../group/redis/commands/time.ts'
import { type ConsumerInfo, parseXinfoConsumers, xinfoConsumers } from '../group/redis/commands/xinfo-consumers.ts'
import { type GroupInfo, parseXinfoGroups, xinfoGroups } from '../group/redis/commands/xinfo-groups.ts'
import { parseXinfoStream, type StreamInfo, xinfoStream } from '../group/redis/commands/xinfo-stream.ts'
import { type PendingEntry, parseXpending, xpending } from '../group/redis/commands/xpending.ts'
import { parseXrange, xrange } from '../group/redis/commands/xrange.ts'
import type { RedisReply } from '../group/redis/transport.ts'
import type { ServerQuestion } from './ask.ts'

/** Questions about a server, a stream and a group, for everybody who inspects them. Each error is a refusal, unless the asker adds `answerOf`. */

/** The server's clock, in milliseconds since 1970. */
export const timeQuestion: ServerQuestion<number> = { call: timeCommand, right: '+time', read: parseTime }

export function streamInfoQuestion(key: string): ServerQuestion<StreamInfo> {
  return { call: xinfoStream(key), right: '+xinfo|stream', read: parseXinfoStream }
}

export function groupsQuestion(stream: string): ServerQuestion<readonly GroupInfo[]> {
  return { call: xinfoGroups(stream), right: '+xinfo|groups', read: parseXinfoGroups }
}

export function consumersQuestion(stream: string, group: string): ServerQuestion<readonly ConsumerInfo[]> {
  return { call: xinfoConsumers(stream, group), right: '+xinfo|consumers', read: parseXinfoConsumers }
}

/** Bytes that a key takes, as MEMORY USAGE estimates them; `undefined` if there is none. */
export function memoryUsageQuestion(key: string): ServerQuestion<number | undefined> {
  const read = (reply: RedisReply) => (reply === null ? undefined : Number(reply))
  return { call: ['memory', 'USAGE', key], right: '+memory|usage', read }
}

/** The pending entries with the lowest ids. */
export function oldestPendingQuestion(
  stream: string,
  group: string,
  count: number,
): ServerQuestion<readonly PendingEntry[]> {
  return { call: xpending(stream, group, count), right: '+xpending', read: parseXpending }
}

/** The first entries that a group has not read. Their bodies come along, which nobody keeps. */
export function unreadEntriesQuestion(
  stream: string,
  lastDeliveredId: string,
  count: number,
): ServerQuestion<readonly Entry[]> {
  // nothing comes after the last id there can be, and the server refuses to be asked
  return { call: xrange(stream, `(${lastDeliveredId}`, '+', count), right: '+xrange', read: parseXrange }
}

/** A member of the group's state; `''` if there is none. */
export function groupStateMemberQuestion({ state }: ConsumerKeys, name: string): ServerQuestion<string> {
  return { call: ['hget', state, name], right: '+hget', read: replyAsText }
}

/** Dead letters that settlements of the group ever trimmed. */
export function lettersTrimmedQuestion(keys: ConsumerKeys): ServerQuestion<number> {
  const { call, right } = groupStateMemberQuestion(keys, 'lettersTrimmed')
  return { call, right, read: (reply) => Number(/^\d{1,15}$/.exec(replyAsText(reply))?.[0] ?? 0) }
}

/** What somebody paused, as it lies beside the group; `''` if nothing is. */
export function pausesQuestion({ paused }: ConsumerKeys): ServerQuestion<string> {
  return { call: ['get', paused], right: '+get', read: replyAsText }
}

/** What stands where a stream should, if an error says so. */
export type StreamAbsence = 'missing' | 'another type'

/** What an error says of the key that was asked about; `undefined`: nothing. */
export function readStreamAbsence(error: RedisReplyError): StreamAbsence | undefined {
  if (/no such key/i.test(error.message)) return 'missing'
  return error.is('WRONGTYPE') ? 'another type' : undefined
}
