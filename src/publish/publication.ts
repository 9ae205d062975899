import {
  assertInteger,
  assertKnownOptions,
  assertNumber,
  assertObject,
  assertText,
  wrongUseError,
} from '../core/options.ts'
import { isPlainObject } from '../core/plain-object.ts'
import { checkNumberOption, PUBLISHER_NUMBER_OPTIONS } from '../core/rows.ts'
import type { EventDefinition, PayloadOf } from '../define/event.ts'
import { assertEventDefinition } from '../define/event.ts'
import type { StreamSet } from '../define/stream-set.ts'
import { quotedValue } from '../errors.ts'
import type { OnceWithin } from '../group/connection.ts'
import type { EventDelay } from '../group/delays.ts'
import { MAX_EVENT_DELAY_MS } from '../group/redis/scripts/delays.ts'

/** What an event says beside its payload. */
interface EventTexts {
  /** Identifies the event; consumers' idempotency keys are made of it. Default: a random UUID. */
  readonly eventId?: string
  readonly aggregateType?: string
  readonly aggregateId?: string
  readonly tenantId?: string
  /** Default: now. A string must be ISO 8601. */
  readonly occurredAt?: Date | string
  /** W3C trace context. */
  readonly traceparent?: string
  /** Further fields of the entry, that handlers read as `event.attributes`: texts by name. None may be named as one of the codec's own. Default: none. */
  readonly attributes?: Readonly<Record<string, string>>
  /**
   * Milliseconds within which the event's id is added to the stream once, whoever publishes it, and however often a lost answer has it sent again: a whole number, at
   * most 366 days. The window begins when the server has the first one. Too short a window lets a late repeat in; each id takes memory until it is over. Default:
   * the publisher's.
   */
  readonly deduplicateMs?: number | undefined
  /**
   * How many events its aggregate has so far: a whole number, 0 for a new one. The event is added only if that is so, and is then the next one. The aggregate is the one that `aggregateType` and
   * `aggregateId` name within the stream, or the stream itself without an `aggregateId`. Not for delayed events, nor with `deduplicateMs`: an event of the same `eventId` at the same version is added once in any case.
   * Default: it is added whatever there is, and is no part of what `readEvents` reads.
   */
  readonly expectedVersion?: number | undefined
  /** Of a publisher of `prioritized` streams: which of them it goes into, by the name of its priority. Default: that of the set, if it has one; else it must be given. */
  readonly priority?: string | undefined
}

/** What an event for now says beside its payload. */
export interface PublishOptions extends EventTexts {
  /** Left out: an event with one of these goes by `DelayOptions`. */
  readonly delayMs?: undefined
  readonly deliverAt?: undefined
}

/** What a delayed event says beside its payload, and when it is to be in the stream: by the server's clock, at most 366 days ahead, and never before. */
export type DelayOptions = EventTexts & { readonly expectedVersion?: undefined } & (
    | {
        /** Milliseconds from now, 0 or more. */
        readonly delayMs: number
        readonly deliverAt?: undefined
      }
    | {
        /** The time; one of the past is now. */
        readonly deliverAt: Date
        readonly delayMs?: undefined
      }
  )

/** Options of an event that may be delayed. */
export type MaybeDelayOptions = EventTexts &
  (
    | { readonly delayMs?: number | undefined; readonly deliverAt?: undefined }
    | { readonly deliverAt?: Date | undefined; readonly delayMs?: undefined }
  )

/** The arguments of `publish`, as one tuple. */
export type Publication<Definition extends EventDefinition = EventDefinition> = readonly [
  event: Definition,
  payload: PayloadOf<Definition>,
  options?: MaybeDelayOptions | undefined,
]

/** One event of `publishMany`, checked but for its payload. */
export interface EventDraft {
  readonly event: EventDefinition
  readonly payload: unknown
  readonly options: EventTexts
  /** The stream that it goes into. */
  readonly stream: string
  readonly eventId: string
  /** `undefined`: it is for now. */
  readonly delay: EventDelay | undefined
  /** `undefined`: it is added however often it is published. */
  readonly once: OnceWithin | undefined
  /** `undefined`: it is added whatever there is. */
  readonly expectedVersion: number | undefined
}

const PUBLISH_TEXTS = ['eventId', 'aggregateType', 'aggregateId', 'tenantId', 'traceparent'] as const
const PUBLISH_OPTIONS = [
  ...PUBLISH_TEXTS,
  'occurredAt',
  'attributes',
  'delayMs',
  'deliverAt',
  'deduplicateMs',
  'expectedVersion',
  'priority',
]

const NO_OPTIONS: MaybeDelayOptions = {}

/** Where a publisher's events go. */
export interface PublishDestination {
  /** The stream, or the name of the set. */
  readonly stream: string
  readonly set?: StreamSet | undefined
  readonly deduplicateMs?: number | undefined
}

/**
 * @throws {TypeError | RangeError} No publication, no event, an option that is unknown or none, or no time.
 */
export function checkPublication(
  action: string,
  publication: Publication,
  { stream: name, set, deduplicateMs }: PublishDestination,
): EventDraft {
  if (!Array.isArray(publication)) {
    throw wrongUseError(action, `every publication must be [event, payload, options?], got ${typeof publication}`)
  }
  const [event, payload, given] = publication as Publication
  assertEventDefinition(action, event)
  const options = given === undefined ? NO_OPTIONS : copyOptions(action, given)
  checkPublishOptions(action, options)
  const stream = streamOf(action, name, set, options)
  const eventId = options.eventId ?? crypto.randomUUID()
  const delay = checkDelay(action, eventId, options)
  const once = checkOnce(action, eventId, options, deduplicateMs, set?.markersOf)
  const { expectedVersion } = options
  if (set && expectedVersion !== undefined)
    throw wrongUseError(
      action,
      'expectedVersion must be left out: the versions of an aggregate are those of one stream',
    )
  if (expectedVersion !== undefined) checkExpectedVersion(action, eventId, options, deduplicateMs)
  return { event, payload, options, stream, eventId, delay, once, expectedVersion }
}

/** @throws {TypeError | RangeError} A priority that is unknown, or where there are none. */
function streamOf(action: string, stream: string, set: StreamSet | undefined, { priority }: EventTexts): string {
  if (set) return set.streamOf(action, priority)
  if (priority === undefined) return stream
  throw wrongUseError(action, 'priority needs a publisher of prioritized streams')
}

/** Each is read once: whoever publishes may change them at once, and an asynchronous schema takes its time. @throws {TypeError} None, or one that is unknown. */
function copyOptions(action: string, options: MaybeDelayOptions): MaybeDelayOptions {
  assertKnownOptions(action, options, PUBLISH_OPTIONS)
  const { eventId, aggregateType, aggregateId, tenantId, occurredAt, traceparent, attributes } = options
  const { delayMs, deliverAt, deduplicateMs, expectedVersion, priority } = options
  return {
    eventId,
    aggregateType,
    aggregateId,
    tenantId,
    occurredAt: occurredAt instanceof Date ? new Date(occurredAt) : occurredAt,
    traceparent,
    attributes: attributes && isPlainObject(attributes) ? { ...attributes } : attributes,
    delayMs,
    deliverAt,
    deduplicateMs,
    expectedVersion,
    priority,
  } as MaybeDelayOptions
}

function checkPublishOptions(action: string, options: EventTexts): void {
  for (const name of PUBLISH_TEXTS) if (options[name] !== undefined) assertText(action, name, options[name])
  if (options.attributes !== undefined) checkAttributes(action, options.attributes)
}

/** @throws {TypeError} Something that an entry could not say, or not read back. */
function checkAttributes(action: string, attributes: unknown): void {
  assertObject(action, 'attributes', attributes)
  if (!isPlainObject(attributes as object)) throw wrongUseError(action, 'attributes must be a plain object')
  for (const [name, value] of Object.entries(attributes as object)) {
    assertText(action, 'a name in attributes', name)
    if (typeof value !== 'string')
      throw wrongUseError(action, `attributes[${quotedValue(name)}] must be a string, got ${typeof value}`)
    if (!name.isWellFormed() || !value.isWellFormed())
      throw wrongUseError(action, 'attributes must be texts of whole characters')
  }
}

function checkDelay(
  action: string,
  eventId: string,
  { delayMs, deliverAt }: MaybeDelayOptions,
): EventDelay | undefined {
  if (delayMs === undefined && deliverAt === undefined) return undefined
  assertWholeCharacters(action, eventId, 'a delayed event')
  if (delayMs !== undefined && deliverAt !== undefined)
    throw wrongUseError(action, 'delayMs and deliverAt must not both be given')
  if (delayMs !== undefined) {
    assertNumber(action, 'delayMs', delayMs, 0, MAX_EVENT_DELAY_MS)
    return { eventId, delayMs }
  }
  const at = timeOf(deliverAt)
  if (Number.isNaN(at)) throw wrongUseError(action, `deliverAt must be a valid Date, got ${kindOf(deliverAt)}`)
  // how far ahead it may be, the script decides by the server's clock
  return { eventId, deliverAt: at }
}

function checkOnce(
  action: string,
  eventId: string,
  { deduplicateMs }: EventTexts,
  ofPublisher: number | undefined,
  markersOf: string | undefined,
): OnceWithin | undefined {
  if (deduplicateMs !== undefined)
    checkNumberOption(action, 'deduplicateMs', deduplicateMs, PUBLISHER_NUMBER_OPTIONS.deduplicateMs)
  const windowMs = deduplicateMs ?? ofPublisher
  if (windowMs === undefined) return undefined
  assertWholeCharacters(action, eventId, 'an event with deduplicateMs')
  return { eventId, windowMs, ...(markersOf !== undefined && { markersOf }) }
}

function checkExpectedVersion(
  action: string,
  eventId: string,
  { expectedVersion, delayMs, deliverAt, deduplicateMs, aggregateType, aggregateId }: MaybeDelayOptions,
  ofPublisher: number | undefined,
): void {
  const rule = 'an event with expectedVersion must'
  assertInteger(action, 'expectedVersion', expectedVersion, 0, Number.MAX_SAFE_INTEGER - 1)
  if (delayMs !== undefined || deliverAt !== undefined)
    throw wrongUseError(action, `${rule} not be delayed: what its aggregate will be like then, nobody knows`)
  if (deduplicateMs !== undefined || ofPublisher !== undefined)
    throw wrongUseError(
      action,
      `${rule} have no deduplicateMs, nor its publisher: at its version its id is added once in any case`,
    )
  if (aggregateType !== undefined && aggregateId === undefined)
    throw wrongUseError(action, `${rule} have an aggregateId where it has an aggregateType`)
  for (const text of [eventId, aggregateType, aggregateId])
    if (text !== undefined && !text.isWellFormed())
      throw wrongUseError(action, 'eventId, aggregateType and aggregateId must be text of whole characters')
}

/** An id that a server compares: halves of characters would all be the same there. */
function assertWholeCharacters(action: string, eventId: string, which: string): void {
  if (!eventId.isWellFormed()) throw wrongUseError(action, `the eventId of ${which} must be text of whole characters`)
}

/** Milliseconds since 1970; NaN of what is no date, whatever else it says it is. */
function timeOf(value: unknown): number {
  try {
    return Date.prototype.getTime.call(value)
  } catch {
    return Number.NaN
  }
}

function kindOf(value: unknown): string {
  if (value instanceof Date) return 'an invalid one'
  return typeof value === 'string' ? quotedValue(value) : typeof value
}
