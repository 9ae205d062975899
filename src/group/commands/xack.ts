import type { Command } from '../clients/transport.ts'

/** One variadic XACK. Answers how many were pending. @see https://redis.io/docs/latest/commands/xack/ */
export function xack(stream: string, group: string, ids: readonly string[]): Command {
  return ['xack', stream, group, ...ids]
}
