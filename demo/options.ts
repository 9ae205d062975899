import { parseArgs } from 'node:util'

export interface DemoOptions {
  /** The system that runs. */
  readonly name: string
  /** How long it publishes. */
  readonly seconds: number
  readonly seed: number
  /** On three masters of its own. */
  readonly cluster: boolean
  /** Name the systems, run none. */
  readonly list: boolean
  readonly help: boolean
}

export const USAGE = `npm run demo -- [NAME] [--seconds N] [--seed N] [--cluster]
       npm run demo -- --list

  NAME          the system that runs (default orders)
  --list        names the systems
  --seconds N   how long to publish, 1 to 3600 (default 20)
  --seed N      which events are drawn, 0 to 4294967295 (default 1)
  --cluster     orders only, on a cluster of its own: three masters, three replicas

Runs against a Redis of its own; orders also against the one that REDIS_URL names, under keys of its own.`

/**
 * @param names Those of the systems.
 * @throws {Error} An unknown option or system, or a value out of range.
 */
export function readOptions(args: readonly string[], names: readonly string[]): DemoOptions {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      seconds: { type: 'string', default: '20' },
      seed: { type: 'string', default: '1' },
      cluster: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  const [name = 'orders', ...more] = positionals
  if (more.length > 0) throw new Error(`One system at a time, got ${positionals.length}`)
  if (!names.includes(name))
    throw new Error(`No system is called ${JSON.stringify(name)}; there are ${names.join(', ')}`)
  if (values.cluster && name !== 'orders') throw new Error('--cluster is for orders only')
  return {
    name,
    list: values.list,
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
