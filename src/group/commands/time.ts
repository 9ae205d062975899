import type { Command, Reply } from '../clients/transport.ts'
import { asText, items } from './reply.ts'

/** The server's clock. @see https://redis.io/docs/latest/commands/time/ */
export const TIME: Command = ['time']

/** Milliseconds since 1970. */
export function parseTime(reply: Reply): number {
  const [seconds, micros] = items(reply).map((part) => Number(asText(part)))
  return Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000)
}
