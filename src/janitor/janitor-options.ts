import type { Clock } from '../clock.ts'
import { assertClock } from '../clock.ts'
import { parseEntryId } from '../core/entry.ts'
import { keepingKeys } from '../core/keys.ts'
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
} from '../core/options.ts'
import type { GroupRegistration } from '../core/registration.ts'
import { assertRegistration } from '../core/registration.ts'
import { resolveConsumerKeys } from '../define/consumer-settings.ts'
import type { LambdaContext } from '../define/handler.ts'
import type { Observer } from '../define/observe.ts'
import { resolveObservers } from '../define/observers.ts'
import type { StreamSet } from '../define/stream-set.ts'
import { isStreamSet } from '../define/stream-set.ts'
import { quotedValue } from '../errors.ts'
import type { Connection } from '../group/connection.ts'
import { assertConnection } from '../group/connection.ts'
import type { Archive } from './archive.ts'

/** A stream that a janitor trims, and by what. Without `maxLength`, `retentionMs` and `beforeId`, everything goes that all groups have done; with several, an entry goes that exceeds one of them. */
export interface JanitorStream {
  /** The stream's key, or a set of streams as from `prioritized`: what is said holds for each of them. */
  readonly stream: string | StreamSet
  /** Entries that stay, 0 or more: what is beyond them goes, the oldest first. Default: no limit. */
  readonly maxLength?: number
  /** Milliseconds that entries stay, 1 or more: older ones go. Default: no limit. */
  readonly retentionMs?: number
  /** Entries before that id go. Default: no limit. */
  readonly beforeId?: string
  /**
   * Answers the id from which on entries are needed by somebody who is no group, as a snapshot that is rebuilt from them; called once per run. `undefined`: by nobody. What it throws fails the run of
   * the stream, and nothing is trimmed.
   */
  readonly keepFrom?: () => string | undefined | Promise<string | undefined>
  /** Groups to register before trimming, by their names. Default: those that are registered already. */
  readonly groups?: Readonly<Record<string, GroupRegistration>>
  /** Groups whose progress does not count, as one that somebody made to look around. Default: none. */
  readonly ignoreGroups?: readonly string[]
  /** Where this stream's entries go, `false`: nowhere. Default: the janitor's archive. */
  readonly archive?: Archive | false
}

/** A stream that is tended by itself: of a set each one is. */
export interface TendedStream extends Omit<JanitorStream, 'stream'> {
  readonly stream: string
  /** The name of its set. */
  readonly set?: string
}

/** Where a janitor finds its server and its archive. */
export interface JanitorOptions {
  /** The server; made once at module scope. */
  readonly redis: Connection
  /** Where entries go before they are trimmed, dead letters too. Default: nowhere, they are only trimmed. */
  readonly archive?: Archive
  /** Observers of what happens, such as `reportMetrics()` of `millrace/powertools`. Default: nobody. */
  readonly observe?: Observer | readonly Observer[]
  /** Entries of one range, and so of one object of the archive, 1 to 100,000. Default 10,000. */
  readonly rangeEntries?: number
  /** Bytes of one range's names and values, 1 to 67,108,864; one larger entry is a range of its own. They are in memory at once. Default 4,194,304. */
  readonly rangeBytes?: number
  /** Ranges that a run trims of each stream, 1 or more; the next run goes on. Default 1,000. */
  readonly maxRanges?: number
  /** Time, for tests. Default: the system's. */
  readonly clock?: Clock
}

/** One run of a janitor: its options, and the time and the signal that Lambda would give. */
export interface JanitorRunOptions extends JanitorOptions {
  /** Milliseconds this run has. Default: the context's, else 60,000. */
  readonly remainingMs?: number
  /** Once aborted no further range is taken in hand. */
  readonly signal?: AbortSignal
  /** Lambda's context. */
  readonly context?: Partial<LambdaContext>
}

/** What of the options says how large the steps are. */
export type RangeLimits = Required<Pick<JanitorOptions, 'rangeEntries' | 'rangeBytes' | 'maxRanges'>>

const RANGE_DEFAULTS: RangeLimits = { rangeEntries: 10_000, rangeBytes: 4_194_304, maxRanges: 1_000 }

export const JANITOR_OPTION_NAMES = [
  'redis',
  'archive',
  'observe',
  'rangeEntries',
  'rangeBytes',
  'maxRanges',
  'clock',
] as const
const STREAM_NAMES = [
  'stream',
  'maxLength',
  'retentionMs',
  'beforeId',
  'keepFrom',
  'groups',
  'ignoreGroups',
  'archive',
] as const

export function resolveRangeLimits({ rangeEntries, rangeBytes, maxRanges }: JanitorOptions): RangeLimits {
  return withDefaults(RANGE_DEFAULTS, { rangeEntries, rangeBytes, maxRanges })
}

/** @throws {TypeError | RangeError} A bad option, or an unknown one. */
export function checkJanitorOptions(action: string, options: JanitorRunOptions, known: readonly string[]): void {
  assertKnownOptions(action, options, known)
  const { redis, archive, observe, rangeEntries, rangeBytes, maxRanges, clock, remainingMs, signal, context } = options
  assertConnection(action, redis)
  resolveObservers(action, observe)
  if (archive !== undefined) assertFunction(action, 'archive', archive)
  if (rangeEntries !== undefined) assertInteger(action, 'rangeEntries', rangeEntries, 1, 100_000)
  if (rangeBytes !== undefined) assertInteger(action, 'rangeBytes', rangeBytes, 1, 67_108_864)
  if (maxRanges !== undefined) assertInteger(action, 'maxRanges', maxRanges, 1)
  if (clock !== undefined) assertClock(action, clock)
  if (remainingMs !== undefined) assertNumber(action, 'remainingMs', remainingMs, 0)
  if (context !== undefined) assertObject(action, 'context', context)
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw wrongUseError(action, `signal must be an AbortSignal, got ${typeof signal}`)
}

/** @returns Each stream by itself. @throws {TypeError | RangeError} No stream, one that is named twice, or a bad option. */
export function checkJanitorStreams(
  action: string,
  given: JanitorStream | readonly JanitorStream[],
): readonly TendedStream[] {
  const streams = (Array.isArray(given) ? given : [given]) as readonly JanitorStream[]
  for (const one of streams) assertObject(action, 'every stream', one)
  return checkTendedStreams(
    action,
    streams.flatMap((one) => membersOf(action, one)),
  )
}

/** The same of what was checked once, and has been changed. */
export function checkTendedStreams(action: string, streams: readonly TendedStream[]): readonly TendedStream[] {
  if (streams.length === 0) throw wrongUseError(action, 'there must be at least one stream')
  const seen = new Set<string>()
  for (const { set, ...one } of streams) {
    assertText(action, 'stream', one.stream)
    if (seen.has(one.stream))
      throw wrongUseError(action, `stream ${quotedValue(one.stream)} must appear once, got it twice`)
    seen.add(one.stream)
    checkStream(`${action} of stream ${quotedValue(one.stream)}`, one)
    if (set !== undefined && (one.beforeId ?? one.keepFrom) !== undefined)
      throw wrongUseError(
        `${action} of the streams of ${quotedValue(set)}`,
        'beforeId and keepFrom must be of one stream, since an entry id is: give each stream by its key',
      )
  }
  return streams
}

function membersOf(action: string, given: JanitorStream): readonly TendedStream[] {
  const { stream, ...rest } = given
  assertKnownKeys(action, given, STREAM_NAMES)
  if (!isStreamSet(stream)) return [{ ...rest, stream }]
  return stream.streams.map((one) => ({ ...rest, stream: one, set: stream.name }))
}

function checkStream(action: string, given: TendedStream): void {
  assertKnownKeys(action, given, STREAM_NAMES)
  const { stream, maxLength, retentionMs, beforeId, keepFrom, groups, ignoreGroups, archive } = given
  assertKeys(action, stream)
  if (maxLength !== undefined) assertInteger(action, 'maxLength', maxLength, 0)
  if (retentionMs !== undefined) assertInteger(action, 'retentionMs', retentionMs, 1)
  if (beforeId !== undefined) assertEntryId(action, 'beforeId', beforeId)
  if (keepFrom !== undefined) assertFunction(action, 'keepFrom', keepFrom)
  if (archive !== undefined && archive !== false) assertFunction(action, 'archive', archive)
  if (groups !== undefined) checkGroups(action, stream, groups)
  if (ignoreGroups !== undefined) checkIgnored(action, ignoreGroups, groups)
}

function checkIgnored(action: string, ignoreGroups: readonly string[], groups: JanitorStream['groups'] = {}): void {
  if (!Array.isArray(ignoreGroups))
    throw wrongUseError(action, `ignoreGroups must be an array, got ${typeof ignoreGroups}`)
  for (const group of ignoreGroups) {
    assertText(action, 'each of ignoreGroups', group)
    if (Object.hasOwn(groups, group))
      throw wrongUseError(action, `group ${quotedValue(group)} must not be in both groups and ignoreGroups`)
  }
}

/** @throws {TypeError | RangeError} Not a record of registrations, or a group whose name gives no keys. */
export function checkGroups(action: string, stream: string, groups: Readonly<Record<string, GroupRegistration>>): void {
  assertObject(action, 'groups', groups)
  for (const [group, registration] of Object.entries(groups)) {
    assertText(action, 'the name of a group', group)
    assertRegistration(action, `group ${quotedValue(group)}`, registration)
    const { deadLetters } = resolveConsumerKeys(action, stream, group)
    assertKeys(action, registration.deadLetters?.stream ?? deadLetters)
  }
}

/** @throws {TypeError} No other key can lie in the stream's hash slot. */
export function assertKeys(action: string, stream: string): void {
  try {
    keepingKeys(stream)
  } catch (cause) {
    throw new TypeError(`Cannot ${action}: ${(cause as Error).message}`, { cause })
  }
}

/** @throws {TypeError | RangeError} Not a full entry id, as `1700000000000-0`. */
export function assertEntryId(action: string, name: string, id: unknown): void {
  assertText(action, name, id)
  const { ms, seq } = parseEntryId(id as string)
  if (`${ms}-${seq}` !== id)
    throw wrongUseError(action, `${name} must be a full entry id, as 1700000000000-0, got ${quotedValue(id)}`)
}
