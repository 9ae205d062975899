import { randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'

export interface SoakOptions {
  /** How long events are published and faults injected. */
  readonly seconds: number
  readonly seed: number
  /** Where the notes are kept; `undefined`: in a temporary directory, removed in the end. */
  readonly notes: string | undefined
  /** Milliseconds of an outage, in place of all else; `undefined`: none. */
  readonly outageMs: number | undefined
  /** Whether a janitor trims the stream meanwhile, into an archive that counts as well. */
  readonly janitor: boolean
  /** Whether another group of the stream keeps the order of keys meanwhile. */
  readonly ordered: boolean
  readonly help: boolean
}

export const USAGE = `npm run soak -- [--seconds N] [--seed N] [--notes DIR] [--janitor] [--ordered]
npm run soak -- --outage N

  --seconds N   how long to publish and to inject faults, 1 to 86400 (default 600); then what is left is drained
  --seed N      which events and which faults are drawn, 0 to 4294967295 (default: random); their timing is the machine's
  --outage N    instead: what a handler needs is out of order for N seconds, 1 to 86400, beside circuitBreaker
  --notes DIR   keep there what was noted of every handler call, fault and process
  --janitor     a janitor trims the stream meanwhile, and its archive refuses now and then; archive and stream together are looked through in the end
  --ordered     another group of the stream keeps the order of keys meanwhile, through deaths of its own

Runs against a Redis of its own. The exit status is 1 if an entry was lost or a promise was broken.`

/** @throws {Error} An unknown option or a value out of range. */
export function readOptions(args: readonly string[]): SoakOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: 'string', default: '600' },
      seed: { type: 'string', default: `${randomBytes(4).readUInt32LE()}` },
      notes: { type: 'string' },
      outage: { type: 'string' },
      janitor: { type: 'boolean', default: false },
      ordered: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  return {
    seconds: integer('--seconds', values.seconds, 1, 86_400),
    seed: integer('--seed', values.seed, 0, 2 ** 32 - 1),
    notes: values.notes,
    outageMs: values.outage === undefined ? undefined : 1_000 * integer('--outage', values.outage, 1, 86_400),
    janitor: values.janitor,
    ordered: values.ordered,
    help: values.help,
  }
}

function integer(name: string, text: string, min: number, max: number): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= min && value <= max) return value
  throw new RangeError(`${name} must be a whole number from ${min} to ${max}, got ${JSON.stringify(text)}`)
}
