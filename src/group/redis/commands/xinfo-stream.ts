import type { RedisCommand, RedisReply } from '../transport.ts'
import { replyAsRecord, replyAsText, replyItems } from './reply.ts'

/** A stream as the server sees it. */
export interface StreamInfo {
  readonly length: number
  /** The highest id there ever was; its entry may be gone. */
  readonly lastGeneratedId: string
  /** Entries ever added; nothing before 7.0. */
  readonly entriesAdded: number | undefined
  /** Nothing where the stream is empty. */
  readonly firstId: string | undefined
  readonly lastId: string | undefined
}

/** Also answers the first and the last entry with their bodies. @see https://redis.io/docs/latest/commands/xinfo-stream/ */
export function xinfoStream(stream: string): RedisCommand {
  return ['xinfo', 'STREAM', stream]
}

export function parseXinfoStream(reply: RedisReply): StreamInfo {
  const info = replyAsRecord(reply)
  const added = info['entries-added'] ?? null
  return {
    length: Number(info.length),
    lastGeneratedId: replyAsText(info['last-generated-id']),
    entriesAdded: added === null ? undefined : Number(added),
    firstId: idOf(info['first-entry']),
    lastId: idOf(info['last-entry']),
  }
}

function idOf(entry: RedisReply | undefined): string | undefined {
  const [id] = replyItems(entry)
  return id === undefined ? undefined : replyAsText(id)
}
