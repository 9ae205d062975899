import type { RedisCommand } from '../transport.ts'

/**
 * Texts of several keys, null where there is none. While a hash slot moves they may be on two nodes, and the server answers TRYAGAIN: see `RedisGroupCalls.texts`.
 *
 * @see https://redis.io/docs/latest/commands/mget/
 */
export function mgetCommand(...keys: readonly string[]): RedisCommand {
  return ['mget', ...keys]
}
