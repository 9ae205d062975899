import type { Command } from '../transport.ts'

/** Answers a string's value, or nothing. @see https://redis.io/docs/latest/commands/get/ */
export function get(key: string): Command {
  return ['get', key]
}
