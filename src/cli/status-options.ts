import { quotedValue } from '../errors.ts'
import { parseCommandLine } from './parse-command-line.ts'
import { TARGET_CLI_OPTIONS, TARGET_USAGE, type TargetOptionValues } from './targets.ts'
import { UsageError } from './usage-error.ts'

export interface StatusOptions extends TargetOptionValues {
  readonly modules: readonly string[]
  /** `undefined`: once. */
  readonly watchSeconds: number | undefined
  readonly details: boolean
  readonly json: boolean
  readonly help: boolean
}

const DEFAULT_WATCH_SECONDS = 2

export const STATUS_USAGE = `millrace status [MODULE]... [--stream KEY]... [--group NAME] [--redis URL] [--watch [SECONDS]] [--details] [--json]

Shows streams and their groups: lag, pending entries, in hand and set aside, consumers, dead letters. Only reads, and touches no
group. Where no stream is named: those that the server has.

${TARGET_USAGE}
  --watch [S]    again every S seconds, in place (default 2)
  --details      when what is set aside comes back, consumers with their leases, delivery counts and the oldest pending entry, too
  --json         one JSON document; with --watch one per line

Dead letters that lie elsewhere than in {stream}:<group>:dlq are found only by MODULE. A lag of "10+" is ten or more, where
the server does not know; "?" is what it does not report, with the reason below. Exits with 1 where a stream or group that is
named, and is of no MODULE, is not there.`

/** @throws {UsageError} An unknown option, or a value that is none. */
export function readStatusOptions(args: readonly string[]): StatusOptions {
  const { values, positionals } = parseCommandLine(
    { name: 'status', usage: STATUS_USAGE },
    withWatchValue(args),
    OPTIONS,
  )
  const { watch, ...options } = values
  return { modules: positionals, ...options, watchSeconds: watch === undefined ? undefined : readSeconds(watch) }
}

const OPTIONS = {
  ...TARGET_CLI_OPTIONS,
  watch: { type: 'string' },
  details: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
} as const

/** parseArgs knows no option whose value may be left out: `--watch` gets the number that follows it, or the default. */
function withWatchValue(args: readonly string[]): string[] {
  const read: string[] = []
  for (let at = 0; at < args.length; at++) {
    const arg = args[at] as string
    if (arg === '--') return [...read, ...args.slice(at)]
    if (arg !== '--watch') read.push(arg)
    else if (/^\d+(\.\d+)?$/.test(args[at + 1] ?? '')) read.push(`--watch=${args[++at]}`)
    else read.push(`--watch=${DEFAULT_WATCH_SECONDS}`)
  }
  return read
}

function readSeconds(text: string): number {
  const seconds = Number(text)
  if (text.trim() !== '' && seconds >= 0.1 && seconds <= 86_400) return seconds
  throw new UsageError(
    `millrace status: --watch must be a number of seconds from 0.1 to 86400, got ${quotedValue(text)}`,
  )
}
