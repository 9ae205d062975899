import type { RedisCommand } from '../transport.ts'

/** Answers how many were there. @see https://redis.io/docs/latest/commands/xdel/ */
export function xdel(stream: string, ids: readonly string[]): RedisCommand {
  return ['xdel', stream, ...ids]
}
