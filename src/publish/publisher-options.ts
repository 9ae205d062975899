import type { Clock } from '../clock.ts'
import { assertClock, systemClock } from '../clock.ts'
import type { Codec, TwoWayCodec } from '../core/codec.ts'
import {
  assertBoolean,
  assertInteger,
  assertKnownKeys,
  assertObject,
  assertOneOf,
  assertText,
  withDefaults,
  wrongUseError,
} from '../core/options.ts'
import { checkNumberOption, PUBLISHER_NUMBER_OPTIONS } from '../core/rows.ts'
import type { Observer } from '../define/observe.ts'
import { resolveObservers } from '../define/observers.ts'
import type { StreamSet } from '../define/stream-set.ts'
import { isStreamSet } from '../define/stream-set.ts'
import { quotedValue } from '../errors.ts'
import type { Connection, StreamTrim } from '../group/connection.ts'
import { assertConnection } from '../group/connection.ts'
import type { BacklogSettings } from './backlog-limit.ts'

/** Into which stream, and how it is bounded. */
export interface PublisherOptions {
  /** The stream's key; or a set of streams, as from `prioritized`: then each event says its `priority`. */
  readonly stream: string | StreamSet
  /** The server; made once at module scope. */
  readonly redis: Connection
  /** How entries are written: the codec that their consumers read them by, one with `encode`. Default `envelopeCodec`. */
  readonly codec?: Codec
  /** Who publishes; written into every entry. Default: nobody. */
  readonly producer?: string
  /**
   * Entries the stream keeps; `Infinity` keeps all. Trimming takes the oldest, also those that no group has read: choose more than the
   * longest backlog. Default 1,000,000, unless `retentionMs` is given.
   */
  readonly maxLength?: number
  /**
   * Milliseconds an entry is kept on the server's clock, instead of `maxLength`. The server is asked for its time before the first event, then
   * once a minute; nothing is trimmed where it does not say.
   */
  readonly retentionMs?: number
  /** Trim to the entry, which costs more; by default whole nodes go, so that up to some hundred entries more are kept. Default false. */
  readonly exactTrimming?: boolean
  /** Bytes of names and values; a larger event is refused. Default 1,048,576, as the consumer's. */
  readonly maxEntryBytes?: number
  /**
   * Milliseconds within which an event's id is added to the stream once, of every event that does not say otherwise: a whole number, at most 366 days. Default: events
   * are added however often they are published.
   */
  readonly deduplicateMs?: number
  /**
   * Entries that the slowest registered group may have to do, those it was not given and those that are pending; while it has that many, nothing is published. Of a set it is each stream's. The server is asked
   * once a second at most, and what this publisher adds meanwhile counts. Groups are registered by a deployment or `registerGroups` of `millrace/janitor`. Default: any number.
   */
  readonly maxBacklog?: number
  /** What `publish` does then: `refuse` throws BacklogFullError, `wait` waits for room, in the order of calls. Default `refuse`. */
  readonly onFull?: 'refuse' | 'wait'
  /** Milliseconds that one call waits for room, with `onFull: 'wait'`, before it throws BacklogFullError, at most 24 hours. Default 60,000. */
  readonly maxWaitMs?: number
  /** Pollers to wake, as from `wakePoller` of `millrace/lambda`. Default: none; their schedule finds what was published. */
  readonly wake?: Wake | readonly Wake[]
  /** Observers of what is published, such as `reportMetrics()` of `millrace/powertools`. Default: nobody. */
  readonly observe?: Observer | readonly Observer[]
  /** Time, for tests. Default: the system's. */
  readonly clock?: Clock
}

/**
 * Wakes the poller of one group. Of all publishers one does: it raised a flag beside the group, which the next poller takes back before it
 * reads, so that what is published after that wakes again.
 */
export interface Wake {
  /** The consumer group. */
  readonly group: string
  /** Milliseconds after which another publisher may wake a poller that never read, 1 or more. */
  readonly windowMs: number
  /** Resolves once the poller's invocation was accepted. */
  wake(): Promise<void>
  /** Called with the error of a flag that could not be raised or of a `wake` that failed: the schedule still finds what was published. */
  onError(error: Error): void
}

const DEFAULTS = {
  maxLength: PUBLISHER_NUMBER_OPTIONS.maxLength.default as number,
  exactTrimming: false,
  maxWaitMs: PUBLISHER_NUMBER_OPTIONS.maxWaitMs.default as number,
  maxEntryBytes: PUBLISHER_NUMBER_OPTIONS.maxEntryBytes.default as number,
  clock: systemClock,
}
const KNOWN = [
  'stream',
  'redis',
  'codec',
  'producer',
  'retentionMs',
  'deduplicateMs',
  'maxBacklog',
  'onFull',
  'wake',
  'observe',
  ...Object.keys(DEFAULTS),
]

/** Fills in the defaults, and checks ranges and relations. @throws {TypeError | RangeError} The message names the rule and the value. */
export function resolvePublisherOptions(options: PublisherOptions) {
  assertObject('create publisher', 'options', options)
  const { redis, codec, producer, deduplicateMs } = options
  const set = isStreamSet(options.stream) ? options.stream : undefined
  const stream = set?.name ?? (options.stream as string)
  const action = `create publisher for stream ${quotedValue(stream)}`
  assertText(action, 'stream', stream)
  assertKnownKeys(action, options, KNOWN)
  if (producer !== undefined) assertText(action, 'producer', producer)
  assertConnection(action, redis)
  if (codec !== undefined && typeof codec?.encode !== 'function')
    throw wrongUseError(action, 'codec must have an encode function: one without it can only be read')
  const { maxEntryBytes, exactTrimming, maxWaitMs, clock } = withDefaults(DEFAULTS, {
    maxEntryBytes: options.maxEntryBytes,
    exactTrimming: options.exactTrimming,
    maxWaitMs: options.maxWaitMs,
    clock: options.clock,
  })
  checkNumberOption(action, 'maxEntryBytes', maxEntryBytes, PUBLISHER_NUMBER_OPTIONS.maxEntryBytes)
  if (deduplicateMs !== undefined)
    checkNumberOption(action, 'deduplicateMs', deduplicateMs, PUBLISHER_NUMBER_OPTIONS.deduplicateMs)
  assertBoolean(action, 'exactTrimming', exactTrimming)
  assertClock(action, clock)
  const trim = resolveTrim(action, options, exactTrimming)
  if (trim.kind === 'age') codec?.assertKeeps?.(action, trim.retentionMs)
  return {
    stream,
    set,
    redis,
    producer,
    codec: codec as TwoWayCodec | undefined,
    maxEntryBytes,
    deduplicateMs,
    clock,
    trim,
    maxWaitMs,
    backlog: resolveBacklog(action, options, maxWaitMs, clock),
    observers: resolveObservers(action, options.observe),
    wakes: checkWakes(action, options.wake ?? []),
  }
}

function resolveBacklog(
  action: string,
  { maxBacklog, onFull }: PublisherOptions,
  maxWaitMs: number,
  clock: Clock,
): Omit<BacklogSettings, 'stream'> | undefined {
  if (onFull !== undefined) assertOneOf(action, 'onFull', onFull, ['refuse', 'wait'])
  checkNumberOption(action, 'maxWaitMs', maxWaitMs, PUBLISHER_NUMBER_OPTIONS.maxWaitMs)
  if (maxBacklog === undefined) {
    if (onFull === undefined) return undefined
    throw wrongUseError(action, 'maxBacklog must be given with onFull')
  }
  checkNumberOption(action, 'maxBacklog', maxBacklog, PUBLISHER_NUMBER_OPTIONS.maxBacklog)
  return { maxBacklog, clock, waitMs: onFull === 'wait' ? maxWaitMs : 0 }
}

/** @throws {TypeError | RangeError} Something that is no `Wake`. */
export function checkWakes(action: string, given: Wake | readonly Wake[]): readonly Wake[] {
  const wakes = (Array.isArray(given) ? given : [given]) as readonly Wake[]
  for (const wake of wakes) {
    if (typeof wake?.wake !== 'function' || typeof wake.onError !== 'function')
      throw wrongUseError(action, 'wake must come from wakePoller of millrace/lambda')
    assertText(action, 'wake.group', wake.group)
    assertInteger(action, 'wake.windowMs', wake.windowMs, 1)
  }
  return wakes
}

function resolveTrim(action: string, { maxLength, retentionMs }: PublisherOptions, exact: boolean): StreamTrim {
  if (retentionMs === undefined) {
    const length = maxLength === undefined ? DEFAULTS.maxLength : maxLength
    if (length === Infinity) return { kind: 'none' }
    checkNumberOption(action, 'maxLength', length, PUBLISHER_NUMBER_OPTIONS.maxLength)
    return { kind: 'length', maxLength: length, exact }
  }
  if (maxLength !== undefined) {
    throw wrongUseError(action, `maxLength and retentionMs must not both be given, got ${maxLength} and ${retentionMs}`)
  }
  checkNumberOption(action, 'retentionMs', retentionMs, PUBLISHER_NUMBER_OPTIONS.retentionMs)
  return { kind: 'age', retentionMs, exact }
}
