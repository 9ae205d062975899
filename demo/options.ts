import { parseArgs } from 'node:util'

export interface DemoOptions {
  /** How long it publishes. */
  readonly seconds: number
  readonly seed: number
  /** On three masters of its own. */
  readonly cluster: boolean
  readonly help: boolean
}

export const USAGE = `npm run demo -- [--seconds N] [--seed N] [--cluster]

  --seconds N   how long to publish, 1 to 3600 (default 20)
  --seed N      which orders are drawn, 0 to 4294967295 (default 1)
  --cluster     on a cluster of its own: three masters, three replicas

Runs against a Redis of its own, or against the one that REDIS_URL names, under keys of its own.`

/** @throws {Error} An unknown option or a value out of range. */
export function readOptions(args: readonly string[]): DemoOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: 'string', default: '20' },
      seed: { type: 'string', default: '1' },
      cluster: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  return {
    seconds: integer('--seconds', values.seconds, 1, 3_600),
    seed: integer('--seed', values.seed, 0, 2 ** 32 - 1),
    cluster: values.cluster,
    help: values.help,
  }
}

function integer(name: string, text: string, min: number, max: number): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= min && value <= max) return value
  throw new RangeError(`${name} must be a whole number from ${min} to ${max}, got ${JSON.stringify(text)}`)
}
