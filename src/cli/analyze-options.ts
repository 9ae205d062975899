import { quotedValue } from '../errors.ts'
import type { AnalyzedFields, AnalyzeOptions } from '../operate/analyze/options.ts'
import { parseCommandLine } from './parse-command-line.ts'
import { TARGET_CLI_OPTIONS } from './targets.ts'
import { parseDurationOption } from './text/duration.ts'
import { UsageError } from './usage-error.ts'

/** What `millrace analyze` takes. */
export interface AnalyzeCliOptions {
  readonly redis: string | undefined
  readonly modules: readonly string[]
  /** Left out: that of the modules. */
  readonly stream: string | undefined
  /** Of the set that `stream` names. */
  readonly priorities: string | undefined
  readonly options: Omit<AnalyzeOptions, 'redis'>
  readonly json: boolean
  readonly svg: string | undefined
  readonly png: string | undefined
  readonly help: boolean
}

export const ANALYZE_USAGE = `millrace analyze STREAM [--redis URL] [--from WHEN] [--to WHEN] [--last 1h]
                 [--sample N] [--rate N] [--by FIELD] [--top N] [--group NAME]
                 [--time-zone ZONE] [--json] [--svg FILE] [--png FILE]

Says what is in a stream: event types, producers, values of a field, hours of
the day, entries per minute, sizes, how long after their events entries were
written, and how old pending entries are. Only reads, and touches no group.
Ctrl-C ends it, and prints what it has.

  STREAM               the stream; with --module its consumer's by default
  --priorities P       STREAM is a set of streams, of these priorities, as
                       high,normal,low, one after the other; a module knows
                       its own
  --redis URL          the server: redis://, rediss://, redis+sentinel://,
                       https:// or a socket's path (default: REDIS_URL)
  --from WHEN          an entry id, or a time as 2026-01-31T12:00Z, which is
                       included (default: the first entry)
  --to WHEN            likewise (default: what is the last entry now)
  --last DURATION      what was written in 30m, 2h, 1d; instead of --from
  --sample N           reads about N entries, spread over the range: quick, and
                       counts are estimates (default: reads all)
  --rate N             reads N entries per second at most, to spare the server
  --by FIELD           counts the values of a field of the entry, else of its
                       JSON payload; payload.a.b is a member of that
  --top N              rows of each table (default 10)
  --group NAME         pending entries of only one group
  --max-pending N      pending entries per group that are examined, the oldest;
                       0 for none (default 10000)
  --time-zone ZONE     for hours and times, as Europe/Berlin (default: UTC)
  --module FILE        exports the stream's consumer: its codec reads entries
  --type-field NAME    where the event type is (default: eventType, or
                       event_type); --payload-field, --producer-field and
                       --occurred-at-field likewise
  --json               one JSON document
  --svg FILE           also draws it; needs the packages vega and vega-lite
  --png FILE           likewise; needs @resvg/resvg-js beside`

const TEXT = { type: 'string' } as const
const FLAG = { type: 'boolean', default: false } as const

const OPTIONS = {
  redis: TARGET_CLI_OPTIONS.redis,
  group: TARGET_CLI_OPTIONS.group,
  help: TARGET_CLI_OPTIONS.help,
  from: TEXT,
  to: TEXT,
  last: TEXT,
  sample: TEXT,
  rate: TEXT,
  by: TEXT,
  top: TEXT,
  'max-pending': TEXT,
  'time-zone': TEXT,
  module: { type: 'string', multiple: true, default: [] as string[] },
  priorities: TEXT,
  'type-field': TEXT,
  'payload-field': TEXT,
  'producer-field': TEXT,
  'occurred-at-field': TEXT,
  json: FLAG,
  svg: TEXT,
  png: TEXT,
} as const

/** @throws {UsageError} An unknown option, or a value that is none. */
export function readAnalyzeOptions(args: readonly string[]): AnalyzeCliOptions {
  const { values, positionals } = parseCommandLine({ name: 'analyze', usage: ANALYZE_USAGE }, args, OPTIONS)
  const [stream, ...others] = positionals
  if (others.length > 0)
    throw new UsageError(`millrace analyze: one STREAM must be named, got ${positionals.length}\n\n${ANALYZE_USAGE}`)
  const { redis, module: modules, priorities, json, svg, png, help } = values
  return { redis, modules, stream, priorities, json, svg, png, help, options: analyzeOptionsOf(values) }
}

type Values = ReturnType<typeof parseCommandLine<typeof OPTIONS>>['values']

function analyzeOptionsOf(values: Values): AnalyzeCliOptions['options'] {
  const { from, to, last, by, group, 'time-zone': timeZone } = values
  const fields: AnalyzedFields = given({
    type: values['type-field'],
    payload: values['payload-field'],
    producer: values['producer-field'],
    occurredAt: values['occurred-at-field'],
  })
  const lastMs = last === undefined ? undefined : parseDurationOption('analyze', '--last', last)
  const { sample, rate, top, 'max-pending': maxPending } = values
  const numbers = {
    sample: numberOf('sample', sample),
    rate: numberOf('rate', rate),
    top: numberOf('top', top),
    maxPending: numberOf('max-pending', maxPending),
  }
  return { ...given({ from, to, lastMs, by, group, timeZone, ...numbers }), fields }
}

/** @throws {UsageError} It is no whole number. */
function numberOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined || /^\d+$/.test(text)) return text === undefined ? undefined : Number(text)
  throw new UsageError(`millrace analyze: --${option} must be a whole number, got ${quotedValue(text)}`)
}

type Given<T> = { [Name in keyof T]?: Exclude<T[Name], undefined> }

function given<T extends object>(values: T): Given<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Given<T>
}

/** What `analyze` says of a wrong option, by the name that it has on the command line. */
export function analyzeUsageError(error: Error): UsageError {
  const message = error.message.replace(
    /^Cannot analyze a stream: (fields\.)?(\w+) (must|and)/,
    (_, field, name, rest) => {
      return `${OPTION_NAMES[name] ?? `--${name.replace(/[A-Z]/g, (letter: string) => `-${letter.toLowerCase()}`)}`}${field ? '-field' : ''} ${rest}`
    },
  )
  return new UsageError(`millrace analyze: ${message.replace('lastMs', '--last')}`, { cause: error })
}

const OPTION_NAMES: Readonly<Record<string, string>> = { lastMs: '--last', stream: 'STREAM' }
