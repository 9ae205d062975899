import type { GroupRegistration } from '../core/registration.ts'
import { parseCommandLine } from './parse-command-line.ts'
import { TARGET_CLI_OPTIONS } from './targets.ts'
import { UsageError } from './usage-error.ts'

export const REGISTER_USAGE = `millrace register STREAM [GROUP] [--owner NAME] [--max-lag N] [--max-age-ms MS] [--retention-ms MS]
                  [--letters-owner NAME] [--letters-retention-ms MS] [--letters KEY] [--remove]
                  [--priorities P] [--redis URL] [--json]

Registers a group of a stream: who owns it, how far behind it may be, and how long it needs entries. doctor and status compare
groups with it, and janitors wait for every group that is registered. What is registered under the name is replaced. Without
GROUP it lists what is registered.

  --owner NAME               who answers for the group; required
  --max-lag N                objective: entries that may wait for their first delivery
  --max-age-ms MS            objective: age of the oldest entry that is not done
  --retention-ms MS          entries stay so long though the group has done them
  --letters-owner NAME       who looks after its dead letters (default: the owner)
  --letters-retention-ms MS  janitors archive and trim dead letters that are older (default: never)
  --letters KEY              the dead-letter stream, if the consumer names one of its own
  --remove                   takes the group off the registry
  --priorities P             STREAM names a set of streams, as high,normal,low: each of them
  --redis URL                the server (default: the variable REDIS_URL)
  --json                     for machines: one object, group name to registration; of a set a line for each stream

Exits with 0, with 1 if the server refuses, and with 2 on wrong usage.`

/** What the command is to do. */
export interface RegisterOptions {
  readonly stream: string
  /** Of the set that the stream's name is. */
  readonly priorities: string | undefined
  /** `undefined`: all are listed. */
  readonly group: string | undefined
  /** `undefined`: the group is taken off. */
  readonly registration: GroupRegistration | undefined
  readonly redis: string | undefined
  readonly json: boolean
}

const TEXT = { type: 'string' } as const
const FLAG = { type: 'boolean', default: false } as const
const COMMAND = { name: 'register', usage: REGISTER_USAGE }
/** What says something of a group. */
const REGISTRATION = [
  'owner',
  'max-lag',
  'max-age-ms',
  'retention-ms',
  'letters-owner',
  'letters-retention-ms',
  'letters',
] as const
const NUMBERS = ['max-lag', 'max-age-ms', 'retention-ms', 'letters-retention-ms'] as const

/** @returns `undefined` if it asks for help. @throws {UsageError} A word too many or too few, an unknown option, or a value that is none. */
export function readRegisterOptions(args: readonly string[]): RegisterOptions | undefined {
  const { values, positionals } = parseCommandLine(COMMAND, args, {
    redis: TARGET_CLI_OPTIONS.redis,
    priorities: TARGET_CLI_OPTIONS.priorities,
    help: TARGET_CLI_OPTIONS.help,
    owner: TEXT,
    'max-lag': TEXT,
    'max-age-ms': TEXT,
    'retention-ms': TEXT,
    'letters-owner': TEXT,
    'letters-retention-ms': TEXT,
    letters: TEXT,
    remove: FLAG,
    json: FLAG,
  })
  if (values.help) return undefined
  const [stream, group, ...others] = positionals
  if (!stream || group === '' || others.length > 0)
    throw new UsageError(`millrace register: STREAM, and at most one GROUP\n\n${REGISTER_USAGE}`)
  const { owner, remove, priorities, redis, json } = values
  const where = { stream, group, priorities, redis, json }
  if (group === undefined || remove) {
    if (remove && group === undefined) throw new UsageError('millrace register: --remove needs GROUP')
    const unused = REGISTRATION.find((name) => values[name] !== undefined)
    if (unused) throw new UsageError(`millrace register: --${unused} needs GROUP, and goes without --remove`)
    return { ...where, registration: undefined }
  }
  if (!owner) throw new UsageError('millrace register: --owner NAME must say who answers for the group')
  const [maxLag, maxAgeMs, retentionMs, lettersMs] = NUMBERS.map((name) => wholeNumber(name, values[name]))
  const { 'letters-owner': lettersOwner, letters } = values
  const objective = given({ maxLag, maxAgeMs })
  const deadLetters = given({ owner: lettersOwner, retentionMs: lettersMs, stream: letters })
  return { ...where, registration: { owner, ...given({ objective, retentionMs, deadLetters }) } }
}

function wholeNumber(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw new UsageError(`millrace register: --${name} must be a whole number, 0 or more`)
}

/** Without what is left out; `undefined` where nothing is left. */
function given<T extends object>(members: T): { [K in keyof T]?: NonNullable<T[K]> } | undefined {
  const all = Object.entries(members).filter(([, value]) => value !== undefined)
  return all.length > 0 ? (Object.fromEntries(all) as { [K in keyof T]?: NonNullable<T[K]> }) : undefined
}
