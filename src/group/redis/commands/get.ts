import type { RedisCommand } from '../transport.ts'

/** Answers a string's value, or nothing. @see https://redis.io/docs/latest/commands/get/ */
export function getCommand(key: string): RedisCommand {
  return ['get', key]
}
