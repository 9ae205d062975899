import type { RedisCommand } from '../transport.ts'

/**
 * Reads entries of a stream above an id, for nobody's group.
 *
 * @param waitMs Milliseconds to wait for the first one, on a connection that nobody else uses; 0: it does not wait.
 * @see https://redis.io/docs/latest/commands/xread/
 */
export function xread(stream: string, after: string, count: number, waitMs: number): RedisCommand {
  // 0 would wait for ever
  const block = waitMs > 0 ? ['BLOCK', waitMs] : []
  return ['xread', 'COUNT', count, ...block, 'STREAMS', stream, after]
}
