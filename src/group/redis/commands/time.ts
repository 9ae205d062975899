import type { RedisCommand, RedisReply } from '../transport.ts'
import { replyItems } from './reply.ts'

/** The server's clock. @see https://redis.io/docs/latest/commands/time/ */
export const timeCommand: RedisCommand = ['time']

/** Milliseconds since 1970. */
export function parseTime(reply: RedisReply): number {
  const [seconds = 0, micros = 0] = replyItems(reply).map(Number)
  return seconds * 1_000 + Math.floor(micros / 1_000)
}
