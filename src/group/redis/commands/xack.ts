import type { RedisCommand } from '../transport.ts'

/** Ids that one command takes: ElastiCache Serverless takes 3,999 arguments. */
export const MAX_XACK_IDS = 3_900

/** One variadic XACK of at most `MAX_XACK_IDS`. Answers how many were pending. @see https://redis.io/docs/latest/commands/xack/ */
export function xack(stream: string, group: string, ids: readonly string[]): RedisCommand {
  return ['xack', stream, group, ...ids]
}
