import type { Command } from '../clients/transport.ts'

/** Sets a key for that long unless it is there; answers nothing if it was. @see https://redis.io/docs/latest/commands/set/ */
export function setOnce(key: string, value: string, forMs: number): Command {
  return ['set', key, value, 'NX', 'PX', forMs]
}
