import { isDay } from '../core/iso-time.ts'
import { quotedValue } from '../errors.ts'
import { parseCommandLine } from './parse-command-line.ts'
import { TARGET_CLI_OPTIONS } from './targets.ts'
import { UsageError } from './usage-error.ts'

/** What both commands are given. */
interface Which {
  readonly stream: string
  readonly group: string
  readonly type: string | undefined
  readonly module: string | undefined
  readonly priorities: string | undefined
  readonly redis: string | undefined
  readonly json: boolean
}

export interface PauseOptions extends Which {
  readonly until: Date | undefined
  readonly why: string | undefined
  readonly by: string | undefined
}

export interface ResumeOptions extends Which {
  readonly breaker: boolean
  readonly maxAgeMs: number | undefined
}

const SHARED_USAGE = `  --type T        only events of that type (default: the whole group)
  --module FILE   a file that exports the consumer, as from defineConsumer: says whether it has a route for the type, and its maxAgeMs
  --priorities P  STREAM is a set of streams, of these priorities, as high,normal,low: all of them are meant; a module knows its own
  --redis URL     the server (default: the variable REDIS_URL)
  --json          for machines: one object per line`

export const PAUSE_USAGE = `millrace pause STREAM GROUP [--type T] [--until TIME] [--why TEXT] [--by NAME] [--module FILE] [--redis URL] [--json]

Pauses a group, or an event type of it: nothing of it starts any more, at the latest a third of minIdleMs later. Handlers that
run finish. What waits costs no delivery, and grows older: what exceeds its maxAgeMs expires. What is paused already stays so,
and only what is given changes.

  --until TIME    when it ends by itself, as 2026-01-02T03:00Z; without Z or an offset, by this machine's zone
  --why TEXT      shown to whoever wonders
  --by NAME       by whom (default: who is logged in here)
${SHARED_USAGE}

Exits with 0, with 1 if it could not be done, and with 2 on wrong usage.`

export const RESUME_USAGE = `millrace resume STREAM GROUP [--type T] [--breaker] [--max-age-ms MS] [--module FILE] [--redis URL] [--json]

Resumes what was paused, and says how many entries wait for it. A type that is paused by itself stays so when its group is
resumed.

  --breaker       closes circuit breakers that are open instead, of all event types or of the one given
  --max-age-ms MS how many of them will expire, being older than that (default: the consumer's maxAgeMs, with --module)
${SHARED_USAGE}

Exits with 0, with 1 if it was not paused, nor a breaker open, or could not be resumed, and with 2 on wrong usage.`

const TEXT = { type: 'string' } as const

const WHICH = {
  redis: TARGET_CLI_OPTIONS.redis,
  help: TARGET_CLI_OPTIONS.help,
  type: TEXT,
  module: TEXT,
  priorities: TEXT,
  json: { type: 'boolean', default: false },
} as const

/** @returns `undefined` if it asks for help. @throws {UsageError} A word too many or too few, an unknown option, or a value that is none. */
export function readPauseOptions(args: readonly string[]): PauseOptions | undefined {
  const command = { name: 'pause', usage: PAUSE_USAGE }
  const { values, positionals } = parseCommandLine(command, args, { ...WHICH, until: TEXT, why: TEXT, by: TEXT })
  const { help, until, ...rest } = values
  if (help) return undefined
  checkTexts('pause', values)
  return { ...optional(rest), ...wordsOf(command, positionals), until: readTime(until) }
}

/** @returns `undefined` if it asks for help. @throws {UsageError} A word too many or too few, an unknown option, or a value that is none. */
export function readResumeOptions(args: readonly string[]): ResumeOptions | undefined {
  const command = { name: 'resume', usage: RESUME_USAGE }
  const { values, positionals } = parseCommandLine(command, args, {
    ...WHICH,
    breaker: { type: 'boolean', default: false },
    'max-age-ms': TEXT,
  })
  const { help, breaker, 'max-age-ms': maxAge, ...rest } = values
  if (help) return undefined
  checkTexts('resume', values)
  if (breaker && maxAge !== undefined) throw new UsageError('millrace resume: --breaker goes without --max-age-ms')
  return { ...optional(rest), ...wordsOf(command, positionals), breaker, maxAgeMs: readMs(maxAge) }
}

type Given = Partial<Record<'type' | 'module' | 'priorities' | 'redis' | 'why' | 'by', string>> & {
  readonly json: boolean
}

function optional({ type, module, priorities, redis, why, by, json }: Given) {
  return { type, module, priorities, redis, why, by, json }
}

function wordsOf({ name, usage }: { name: string; usage: string }, words: readonly string[]) {
  const [stream, group, ...more] = words
  if (!stream || !group || more.length > 0)
    throw new UsageError(`millrace ${name}: a stream and a group must say what\n\n${usage}`)
  return { stream, group }
}

/** What a shell makes of a variable that is not set means nothing. */
function checkTexts(name: string, values: Readonly<Record<string, unknown>>): void {
  const empty = Object.keys(values).find((option) => values[option] === '')
  if (empty !== undefined) throw new UsageError(`millrace ${name}: --${empty} must not be empty`)
}

function readTime(text: string | undefined): Date | undefined {
  if (text === undefined) return undefined
  const time = new Date(text)
  if (/^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(text) && isDay(text.slice(0, 10)) && Number.isFinite(time.getTime()))
    return time
  throw new UsageError(`millrace pause: --until must be a time such as 2026-01-02T03:00Z, got ${quotedValue(text)}`)
}

function readMs(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (/^\d{1,15}$/.test(text) && Number(text) > 0) return Number(text)
  throw new UsageError(`millrace resume: --max-age-ms must be a whole number from 1, got ${quotedValue(text)}`)
}
