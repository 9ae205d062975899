import type { RedisCommand } from '../transport.ts'

export function zrem(key: string, members: readonly string[]): RedisCommand {
  return ['zrem', key, ...members]
}
