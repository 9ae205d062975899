import { RedisReplyError } from '../../errors.ts'
import type { Reply } from '../../group/redis/transport.ts'

/** Reads replies; of those that are refusals it keeps the reason. */
export class Unknowns {
  readonly reasons: Record<string, string> = {}

  /** The reply as `parse` reads it; `undefined`, and the reason kept under that name, where the server refused. */
  read<T>(name: string, reply: Reply | undefined, parse: (reply: Reply) => T): T | undefined {
    if (!(reply instanceof RedisReplyError)) return parse(reply ?? null)
    return this.keep<T>(name, reply)
  }

  /** What was read already; `undefined`, and the reason kept under that name, where it is a refusal. */
  keep<T>(name: string, read: T | RedisReplyError): T | undefined {
    if (!(read instanceof RedisReplyError)) return read as T
    this.reasons[name] = read.message
    return undefined
  }
}

/** Whether the server says that the key it was asked for is not there. */
export function isNoSuchKey(reply: Reply | undefined): boolean {
  return reply instanceof RedisReplyError && /no such key/i.test(reply.message)
}
