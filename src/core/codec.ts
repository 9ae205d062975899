import { isUtf8 } from 'node:buffer'
import { MalformedEntryError, quotedValue } from '../errors.ts'
import { type Bytes, type Field, inTurn } from './entry.ts'
import { exactText, isSame, sharedText } from './exact-text.ts'
import { wrongUseError } from './options.ts'

/** What an entry says, before its payload is checked. */
export interface DecodedEvent {
  readonly type: string
  /** 1 or more. Default 1. */
  readonly version?: number | undefined
  readonly payload: unknown
  readonly eventId?: string | undefined
  readonly aggregateType?: string | undefined
  readonly aggregateId?: string | undefined
  /** Which event of its aggregate it is, from 1, if it was published with `expectedVersion`. */
  readonly aggregateVersion?: number | undefined
  readonly tenantId?: string | undefined
  readonly producer?: string | undefined
  /** ISO 8601. */
  readonly occurredAt?: string | undefined
  /** W3C trace context. */
  readonly traceparent?: string | undefined
  /** What its entry says beside all that. Left out where it says nothing. */
  readonly attributes?: Attributes | undefined
}

/** Texts by name. */
export type Attributes = Readonly<Record<string, string>>

/** An event that a codec writes. */
export interface EncodableEvent extends DecodedEvent {
  /** As `JSON.parse` gives it. */
  readonly payload: unknown
  /** Texts that its publisher filled in unasked: a codec that has no field for one leaves it out. */
  readonly filledIn?: readonly FilledIn[] | undefined
}

/** What a publisher fills in where nobody says it. */
export type FilledIn = 'eventId' | 'occurredAt' | 'traceparent'

/** A field of texts, as `encode` writes it. */
export type TextField = readonly [name: string, value: string]

/**
 * Reads events from entries, and writes entries of events. Write one of your own for entries that neither `envelopeCodec` nor `flatCodec` can
 * read.
 */
export interface Codec {
  /**
   * The field whose value is the event's type, where one field says it: by it the server leaves out entries whose handler takes no work, so that they are
   * not fetched for nothing.
   */
  readonly typeField?: string
  /**
   * Whatever it throws, and an answer that is no event (a text that is none, a promise), makes the entry a dead letter with the reason
   * `malformed`.
   *
   * @param fields Names and values, in the stream's order: Buffers over TCP, strings over REST.
   */
  decode(fields: readonly Field[], entryId: string): DecodedEvent
  /**
   * Writes an event, for a publisher: at once, one field at least, which `decode` reads back the same. Whatever it throws is thrown by `publish`.
   */
  encode?(event: EncodableEvent): readonly TextField[]
  /**
   * Takes a payload out of an event that is about to be written, before `encode`: what it answers is written in its place, once `store` has resolved. `undefined`: it stays. As `claimCheck` does. Whatever it throws, or
   * `store` rejects with, is thrown by `publish`, and nothing is published.
   */
  offload?(event: EncodableEvent, options: OffloadOptions): Offloaded | undefined
  /** Called when a publisher is made that keeps entries for so long. @throws {RangeError} What is offloaded is not kept for that long. */
  assertKeeps?(action: string, retentionMs: number): void
  /**
   * Puts a payload back into an event that `decode` gave, once it is known to be for the group and to have a route; before the consumer's `filter` where there is one. An error that it answers makes the entry a dead letter,
   * `malformed`; what it throws or rejects with is a failure like a handler's, and is retried.
   */
  load?(event: DecodedEvent, options: LoadOptions): DecodedEvent | Error | Promise<DecodedEvent | Error>
}

/** What an event is written as in place of its own payload. */
export interface Offloaded {
  readonly event: EncodableEvent
  /** Keeps the payload; called once, when all events of the request are known to be in order. */
  store(): Promise<void>
}

export interface OffloadOptions {
  /** The payload. */
  readonly json: string
  /** Milliseconds for which its entry will be needed at least: its delay, and how long the stream keeps it, where that is by age. */
  readonly keptMs: number
}

export interface LoadOptions {
  /** Aborted when the handler's time is over. */
  readonly signal: AbortSignal
}

/** A codec for consumers and publishers. */
export type TwoWayCodec = Codec & Required<Pick<Codec, 'encode'>>

/** An event about to be written. */
export interface EnvelopeEvent extends Omit<DecodedEvent, 'payload'> {
  /** JSON. */
  readonly payload: string
}

const TEXT_FIELDS = ['aggregateType', 'aggregateId', 'tenantId', 'producer', 'occurredAt', 'traceparent'] as const

/** What an event may say beside its type, version, payload and id. */
type OptionalMembers = { [Name in (typeof TEXT_FIELDS)[number]]?: string } & {
  aggregateVersion?: number
  attributes?: Attributes
}

/** Gives an event its texts and attributes, those that there are. */
export function withOptionalTexts<Event>(
  event: Event,
  texts: { readonly [Name in keyof OptionalMembers]: OptionalMembers[Name] | undefined },
): Event & OptionalMembers {
  const complete = event as Event & OptionalMembers
  // one by one: members that are named take a fraction of the time of a loop's
  if (texts.aggregateType !== undefined) complete.aggregateType = texts.aggregateType
  if (texts.aggregateId !== undefined) complete.aggregateId = texts.aggregateId
  if (texts.aggregateVersion !== undefined) complete.aggregateVersion = texts.aggregateVersion
  if (texts.tenantId !== undefined) complete.tenantId = texts.tenantId
  if (texts.producer !== undefined) complete.producer = texts.producer
  if (texts.occurredAt !== undefined) complete.occurredAt = texts.occurredAt
  if (texts.traceparent !== undefined) complete.traceparent = texts.traceparent
  if (texts.attributes !== undefined) complete.attributes = texts.attributes
  return complete
}

/** The fields around a payload, in the order they are written. */
const ENVELOPE_FIELDS = [
  'eventId',
  'eventType',
  'schemaVersion',
  ...TEXT_FIELDS,
  'aggregateVersion',
  'payload',
] as const
type EnvelopeField = (typeof ENVELOPE_FIELDS)[number]

/** Their names as bytes, by length: an entry's names are told apart without making strings of them. */
const NAMES_BY_LENGTH: { readonly name: EnvelopeField; readonly bytes: Buffer; readonly place: number }[][] = []
for (const [place, name] of ENVELOPE_FIELDS.entries()) {
  NAMES_BY_LENGTH[name.length] ??= []
  NAMES_BY_LENGTH[name.length]?.push({ name, bytes: Buffer.from(name), place })
}

/**
 * The fields that `publish` writes: absent ones are left out, and so is version 1. Attributes are fields of their own.
 *
 * @throws {TypeError} An attribute is named as one of the envelope's fields.
 */
export function encodeEnvelope(event: EnvelopeEvent): TextField[] {
  const fields: TextField[] = []
  if (event.eventId !== undefined) fields.push(['eventId', event.eventId])
  fields.push(['eventType', event.type])
  if (event.version !== undefined && event.version !== 1) fields.push(['schemaVersion', String(event.version)])
  if (event.aggregateType !== undefined) fields.push(['aggregateType', event.aggregateType])
  if (event.aggregateId !== undefined) fields.push(['aggregateId', event.aggregateId])
  if (event.tenantId !== undefined) fields.push(['tenantId', event.tenantId])
  if (event.producer !== undefined) fields.push(['producer', event.producer])
  if (event.occurredAt !== undefined) fields.push(['occurredAt', event.occurredAt])
  if (event.traceparent !== undefined) fields.push(['traceparent', event.traceparent])
  if (event.aggregateVersion !== undefined) fields.push(['aggregateVersion', String(event.aggregateVersion)])
  if (event.attributes !== undefined) fields.push(...attributeFields(event.type, event.attributes))
  fields.push(['payload', event.payload])
  return fields
}

function attributeFields(type: string, attributes: Attributes): TextField[] {
  const fields = Object.entries(attributes)
  const taken = fields.find(([name]) => placeOf(name) !== undefined)
  if (taken === undefined) return fields
  throw wrongUseError(
    `encode ${quotedValue(type)}`,
    `no attribute must be named as a field of the envelope, got ${quotedValue(taken[0])}`,
  )
}

/**
 * Reads and writes what `publish` writes by default: a payload of JSON in one field, its envelope in others. Further fields are the event's attributes; of a
 * name that repeats, the last one. Those that are no UTF-8 are left out.
 */
export const envelopeCodec: TwoWayCodec = {
  typeField: 'eventType',
  decode: (fields) => decodeEnvelope(inTurn(fields)),
  encode: (event) => encodeEnvelope({ ...event, payload: JSON.stringify(event.payload) }),
}

/** Their texts, by the place of their names; none that says nothing is there. */
const NO_TEXTS: readonly (string | undefined)[] = ENVELOPE_FIELDS.map(() => undefined)

/** Whether many entries say the same there. */
const IS_SHARED = ENVELOPE_FIELDS.map((name) => ['eventType', 'aggregateType', 'producer'].includes(name))

/** As `envelopeCodec` does, of names and values in turn. */
// by place: members that are set by a name that is computed take several times as long, for each of many entries
export function decodeEnvelope(namesAndValues: readonly Bytes[]): DecodedEvent {
  const texts = NO_TEXTS.slice()
  let aggregateVersion: number | undefined
  let others: [string, string][] | undefined
  for (let n = 0; n + 1 < namesAndValues.length; n += 2) {
    const [field, value] = [namesAndValues[n], namesAndValues[n + 1]] as [Bytes, Bytes]
    const at = placeOf(field)
    if (at === undefined) {
      if (!isText(field) || !isText(value)) continue
      others ??= []
      others.push([field.toString(), value.toString()])
    } else {
      const name = ENVELOPE_FIELDS[at] as EnvelopeField
      if (texts[at] !== undefined) throw new MalformedEntryError(`Field ${name} must not repeat`)
      const text = IS_SHARED[at] ? sharedText(value, name) : exactText(value, name)
      if (name === 'aggregateVersion') aggregateVersion = parseVersion(text, 'Aggregate')
      texts[at] = text
    }
  }
  const [eventId, type, version, aggregateType, aggregateId, tenantId, producer, occurredAt, traceparent] = texts
  const payload = texts[ENVELOPE_FIELDS.length - 1]
  if (!type) throw new MalformedEntryError('Field eventType is missing')
  if (payload === undefined) throw new MalformedEntryError('Field payload is missing')
  return withOptionalTexts(
    { type, version: parseVersion(version), payload: parseJson(payload, 'payload'), eventId },
    {
      aggregateType,
      aggregateId,
      aggregateVersion,
      tenantId,
      producer,
      occurredAt,
      traceparent,
      attributes: others && Object.fromEntries(others),
    },
  )
}

function isText(bytes: Bytes): boolean {
  return typeof bytes === 'string' || isUtf8(bytes)
}

/** The place of an envelope's field among them. */
function placeOf(name: Bytes): number | undefined {
  const isString = typeof name === 'string'
  for (const known of NAMES_BY_LENGTH[name.length] ?? [])
    if (isString ? name === known.name : isSame(name, known.bytes)) return known.place
  return undefined
}

export function parseVersion(version: string | undefined, kind = 'Schema'): number {
  if (version === undefined) return 1
  if (!/^[1-9]\d*$/.test(version)) throw new MalformedEntryError(`${kind} version must be a whole number from 1`)
  return Number(version)
}

// JSON.parse quotes the payload in its message, so its error is not kept
export function parseJson(json: string, name: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    throw new MalformedEntryError(`Field ${quotedValue(name)} must be JSON`)
  }
}
