import type { Codec } from '../../core/codec.ts'
import { compareEntryIds, parseEntryId } from '../../core/entry.ts'
import { isDay } from '../../core/iso-time.ts'
import {
  assertFunction,
  assertInteger,
  assertKnownKeys,
  assertKnownOptions,
  assertNumber,
  assertObject,
  assertText,
  withDefaults,
  wrongUseError,
} from '../../core/options.ts'
import { quotedValue } from '../../errors.ts'
import type { Connection } from '../../group/connection.ts'

/** What to analyze, and how much of it. */
export interface AnalyzeOptions {
  readonly redis: Connection
  /** Where to begin: an entry id, or a time in ISO 8601, UTC where it names no zone. Included. Default: the first entry. */
  readonly from?: string
  /** Where to end, likewise; included. Default: what is the last entry when it begins. */
  readonly to?: string
  /** Only what was written in so many milliseconds, by the server's clock; instead of `from`. */
  readonly lastMs?: number
  /** Reads about so many entries, 100 to 10,000,000, spread evenly over the range, instead of all. Default: all. */
  readonly sample?: number
  /** Entries read per second at most, to spare the server. Default: as many as it answers. */
  readonly rate?: number
  /** Counts the values of a field: of the entry, else of its JSON payload; `payload.a.b` for a member within. Default: none. */
  readonly by?: string
  /** Rows of each table, 1 to 1,000. Default 10. */
  readonly top?: number
  /** Pending entries of only one group. Default: of all, 100 at most. */
  readonly group?: string
  /** Pending entries that are examined per group, the oldest, 0 to 1,000,000; 0 for none. Default 10,000. */
  readonly maxPending?: number
  /** What reads the entries. Default: fields are read by their names. */
  readonly codec?: Codec
  /** Names of fields, where they are others. */
  readonly fields?: AnalyzedFields
  /** In which hours are counted, as in `Europe/Berlin`. Default `UTC`. */
  readonly timeZone?: string
  /** Ends it early: what was counted so far is the result. */
  readonly signal?: AbortSignal
  /** Called after each page. */
  readonly onProgress?: (progress: AnalyzeProgress) => void
}

/** The fields that say something of an event. */
export interface AnalyzedFields {
  /** Default `eventType`, else `event_type`. */
  readonly type?: string
  /** Default `payload`. */
  readonly payload?: string
  /** Default `producer`. */
  readonly producer?: string
  /** Default `occurredAt`, else `occurred_at`. */
  readonly occurredAt?: string
}

/** How far it is. */
export interface AnalyzeProgress {
  readonly doing: 'entries' | 'pending entries'
  readonly read: number
  /** How many there are, by estimate. */
  readonly expected: number
}

type Given = Pick<AnalyzeOptions, 'from' | 'to' | 'lastMs' | 'sample' | 'rate' | 'by' | 'group' | 'codec' | 'signal'>

export interface ResolvedAnalyzeOptions extends Given {
  readonly redis: Connection
  readonly top: number
  readonly maxPending: number
  readonly fields: AnalyzedFields
  readonly timeZone: string
  readonly onProgress: (progress: AnalyzeProgress) => void
}

const DEFAULTS = { top: 10, maxPending: 10_000, fields: {}, timeZone: 'UTC', onProgress: () => {} }
const PLAIN = ['redis', 'from', 'to', 'lastMs', 'sample', 'rate', 'by', 'group', 'codec', 'signal']
const ISO_TIME = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/

/** @throws {TypeError | RangeError} A bad option. */
export function resolveAnalyzeOptions(action: string, options: AnalyzeOptions): ResolvedAnalyzeOptions {
  assertKnownOptions(action, options, [...PLAIN, ...Object.keys(DEFAULTS)])
  const resolved = withDefaults<ResolvedAnalyzeOptions>({ ...DEFAULTS, redis: options.redis }, options)
  for (const [name, min, max] of INTEGERS)
    if (resolved[name] !== undefined) assertInteger(action, name, resolved[name], min, max)
  for (const name of ['by', 'group', 'timeZone'] as const)
    if (resolved[name] !== undefined) assertText(action, name, resolved[name])
  if (resolved.lastMs !== undefined) assertNumber(action, 'lastMs', resolved.lastMs, 1, Number.MAX_SAFE_INTEGER)
  assertFunction(action, 'onProgress', resolved.onProgress)
  checkReaders(action, resolved)
  return { ...resolved, ...rangeOf(action, resolved), timeZone: checkTimeZone(action, resolved.timeZone) }
}

const INTEGERS = [
  ['sample', 100, 10_000_000],
  ['rate', 1, 1_000_000_000],
  ['top', 1, 1_000],
  ['maxPending', 0, 1_000_000],
] as const

function checkReaders(action: string, { codec, fields, signal }: ResolvedAnalyzeOptions): void {
  if (codec !== undefined) {
    assertObject(action, 'codec', codec)
    if (typeof codec.decode !== 'function') throw wrongUseError(action, 'codec must have a decode function')
  }
  assertObject(action, 'fields', fields)
  assertKnownKeys(`${action}: fields`, fields, ['type', 'payload', 'producer', 'occurredAt'])
  for (const [name, field] of Object.entries(fields))
    if (field !== undefined) assertText(action, `fields.${name}`, field)
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw wrongUseError(action, `signal must be an AbortSignal, got ${typeof signal}`)
}

function rangeOf(action: string, { from, to, lastMs }: Given): Pick<Given, 'from' | 'to'> {
  if (from !== undefined && lastMs !== undefined)
    throw wrongUseError(action, 'from and lastMs both say where to begin: leave out one of them')
  const range = {
    ...(from !== undefined && { from: boundOf(action, 'from', from) }),
    ...(to !== undefined && { to: boundOf(action, 'to', to) }),
  }
  if (range.from !== undefined && range.to !== undefined && isAfter(range.from, range.to))
    throw wrongUseError(
      action,
      `from must not be after to, got ${quotedValue(from)} and ${quotedValue(to)}`,
      RangeError,
    )
  return range
}

/** An id as the server takes it: one without its second number stands for all of that millisecond. */
function boundOf(action: string, name: string, value: string): string {
  assertText(action, name, value)
  try {
    parseEntryId(value)
    return value
  } catch {}
  const hasZone = /(Z|[+-]\d\d:\d\d)$/.test(value) || !value.includes('T')
  const isTime = ISO_TIME.test(value) && isDay(value.slice(0, 10))
  const ms = isTime ? Date.parse(hasZone ? value : `${value}Z`) : Number.NaN
  if (ms >= 0) return String(ms)
  throw wrongUseError(action, `${name} must be an entry id or a time from 1970 on, as in 2026-01-31T12:00Z, got ${quotedValue(value)}`, RangeError) // biome-ignore format: one line
}

function isAfter(from: string, to: string): boolean {
  const isSameMs = parseEntryId(from).ms === parseEntryId(to).ms
  return isSameMs && !to.includes('-') ? false : compareEntryIds(from, to) > 0
}

function checkTimeZone(action: string, timeZone: string): string {
  try {
    new Intl.DateTimeFormat('en-US', { timeZone })
    return timeZone
  } catch {
    throw wrongUseError(action, `timeZone must be one as in Europe/Berlin, got ${quotedValue(timeZone)}`, RangeError)
  }
}
