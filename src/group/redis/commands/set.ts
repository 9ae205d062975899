import type { RedisCommand } from '../transport.ts'

/**
 * Sets a key unless it is there: 1, or 0. Not SET, so that whoever may send it can put nothing in the place of a stream.
 *
 * @see https://redis.io/docs/latest/commands/setnx/
 */
export function setIfAbsent(key: string, value: string): RedisCommand {
  return ['setnx', key, value]
}

/** Has a text end after that long. What is no text is refused. @see https://redis.io/docs/latest/commands/getex/ */
export function expireAfter(key: string, forMs: number): RedisCommand {
  return ['getex', key, 'PX', forMs]
}
