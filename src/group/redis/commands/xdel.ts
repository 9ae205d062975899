import type { Command } from '../transport.ts'

/** Answers how many were there. @see https://redis.io/docs/latest/commands/xdel/ */
export function xdel(stream: string, ids: readonly string[]): Command {
  return ['xdel', stream, ...ids]
}
