import type { Command } from '../transport.ts'

/**
 * Sets a key unless it is there: 1, or 0. Not SET, so that whoever may send it can put nothing in the place of a stream.
 *
 * @see https://redis.io/docs/latest/commands/setnx/
 */
export function setOnce(key: string, value: string): Command {
  return ['setnx', key, value]
}

/** Has a text end after that long. What is no text is refused. @see https://redis.io/docs/latest/commands/getex/ */
export function endAfter(key: string, forMs: number): Command {
  return ['getex', key, 'PX', forMs]
}
