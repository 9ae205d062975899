import type { RedisCommand } from '../transport.ts'

/** Answers the values of strings; nothing in the place of what is none. @see https://redis.io/docs/latest/commands/mget/ */
export function mget(keys: readonly string[]): RedisCommand {
  return ['mget', ...keys]
}
