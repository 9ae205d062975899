import type { Command } from '../transport.ts'

export function zrem(key: string, members: readonly string[]): Command {
  return ['zrem', key, ...members]
}
