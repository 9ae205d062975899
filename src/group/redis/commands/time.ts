import type { Command, Reply } from '../transport.ts'
import { items } from './reply.ts'

/** The server's clock. @see https://redis.io/docs/latest/commands/time/ */
export const time: Command = ['time']

/** Milliseconds since 1970. */
export function parseTime(reply: Reply): number {
  const [seconds = 0, micros = 0] = items(reply).map(Number)
  return seconds * 1_000 + Math.floor(micros / 1_000)
}
