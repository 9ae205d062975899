import { parseEntryId } from '../core/entry.ts'
import { quotedValue } from '../errors.ts'
import type { FollowStartPosition } from './follow-stream.ts'
import { parseCommandLine } from './parse-command-line.ts'
import { TARGET_CLI_OPTIONS, type TargetOptionValues } from './targets.ts'
import { UsageError } from './usage-error.ts'

export interface TailOptions extends TargetOptionValues {
  readonly modules: readonly string[]
  readonly start: FollowStartPosition
  /** None: all. */
  readonly types: ReadonlySet<string>
  /** None: all. */
  readonly eventIds: ReadonlySet<string>
  readonly count: number
  /** Ends once it has shown what is there. */
  readonly toEnd: boolean
  readonly payload: boolean
  readonly json: boolean
  readonly help: boolean
}

export const TAIL_USAGE = `millrace tail --stream KEY [MODULE] [--from ID|$|-DURATION] [--type T]... [--event-id E]...
              [--count N] [--to-end] [--payload] [--json] [--redis URL]

Prints what is added to a stream: entry id, time, event type, event id, producer, size. Touches no group. Ends on Ctrl-C.

  --stream KEY   the stream, or the name of a set of streams: each line then names its stream first
  --priorities P those of the set, as high,normal,low; a module knows its own
  MODULE         a file that exports the stream's consumer, as from defineConsumer: its codec reads the entries, and --stream may be left out
  --from WHERE   an entry id, which is included; $ for what is new (the default); -30s, -5m, -2h or -1d for what came since then
  --type T       only events of that type; may be repeated
  --event-id E   only events of that id; may be repeated
  --count N      ends after so many
  --to-end       ends once it has shown what is there, with 1 where there is no such stream
  --payload      payloads, too, long ones cut unless with --json; of what is no event, its fields
  --json         one JSON document a line
  --redis URL    the server: redis://, rediss:// or https:// (default: the variable REDIS_URL)`

/** @throws {UsageError} An unknown option, or a value that is none. */
export function readTailOptions(args: readonly string[]): TailOptions {
  const { values, positionals } = parseCommandLine({ name: 'tail', usage: TAIL_USAGE }, withFromValue(args), OPTIONS)
  const { from, type, 'event-id': eventIds, count, 'to-end': toEnd, ...rest } = values
  return {
    ...rest,
    modules: positionals,
    start: readStart(from),
    types: new Set(type),
    eventIds: new Set(eventIds),
    toEnd,
    count: count === undefined ? Infinity : readCount(count),
  }
}

const TEXTS = { type: 'string', multiple: true, default: [] as string[] } as const
const FLAG = { type: 'boolean', default: false } as const

const OPTIONS = {
  redis: TARGET_CLI_OPTIONS.redis,
  stream: TARGET_CLI_OPTIONS.stream,
  priorities: TARGET_CLI_OPTIONS.priorities,
  help: TARGET_CLI_OPTIONS.help,
  from: { type: 'string', default: '$' },
  type: TEXTS,
  'event-id': TEXTS,
  count: { type: 'string' },
  'to-end': FLAG,
  payload: FLAG,
  json: FLAG,
} as const

/** parseArgs takes `-5m` after an option for another option. */
function withFromValue(args: readonly string[]): string[] {
  return args.flatMap((arg, at) => {
    if (at > 0 && args[at - 1] === '--from' && /^-\d/.test(arg)) return []
    return arg === '--from' && /^-\d/.test(args[at + 1] ?? '') ? [`--from=${args[at + 1]}`] : [arg]
  })
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

function readStart(text: string): FollowStartPosition {
  if (text === '$') return { kind: 'end' }
  const [, amount, unit = ''] = /^-(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text) ?? []
  if (amount !== undefined) return { kind: 'ago', ms: Number(amount) * (UNIT_MS[unit] ?? 0) }
  try {
    parseEntryId(text)
    return { kind: 'id', id: text }
  } catch (cause) {
    const rule = 'an entry id, $, or a time ago as -30s, -5m, -2h or -1d'
    throw new UsageError(`millrace tail: --from must be ${rule}, got ${quotedValue(text)}`, { cause })
  }
}

function readCount(text: string): number {
  if (/^\d+$/.test(text) && Number(text) >= 1) return Number(text)
  throw new UsageError(`millrace tail: --count must be a whole number from 1, got ${quotedValue(text)}`)
}
