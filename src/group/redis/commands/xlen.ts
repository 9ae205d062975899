import type { RedisCommand } from '../transport.ts'

/** Answers how many entries there are; 0 where there is no stream. @see https://redis.io/docs/latest/commands/xlen/ */
export function xlen(stream: string): RedisCommand {
  return ['xlen', stream]
}
