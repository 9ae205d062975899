import { isUtf8 } from 'node:buffer'
import { MalformedEntryError, quotedValue } from '../errors.ts'
import type { Bytes, Field } from './entry.ts'
import { assertKnownOptions, assertText as checkText, wrongUseError } from './options.ts'

/** What an entry says, before its payload is checked. */
export interface DecodedEvent {
  readonly type: string
  /** 1 or more. Default 1. */
  readonly version?: number | undefined
  readonly payload: unknown
  readonly eventId?: string | undefined
  readonly aggregateType?: string | undefined
  readonly aggregateId?: string | undefined
  readonly tenantId?: string | undefined
  readonly producer?: string | undefined
  /** ISO 8601. */
  readonly occurredAt?: string | undefined
  /** W3C trace context. */
  readonly traceparent?: string | undefined
}

/** Reads events from entries. Write one of your own for entries that neither `envelopeCodec` nor `flatCodec` can read. */
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
}

/** An event about to be written. */
export interface EnvelopeEvent extends Omit<DecodedEvent, 'payload'> {
  /** JSON. */
  readonly payload: string
}

const TEXT_FIELDS = ['aggregateType', 'aggregateId', 'tenantId', 'producer', 'occurredAt', 'traceparent'] as const

type TextField = (typeof TEXT_FIELDS)[number]

/** Gives an event its texts, those that there are. */
export function withOptionalTexts<Event>(
  event: Event,
  texts: { readonly [Name in TextField]?: string | undefined },
): Event & { [Name in TextField]?: string } {
  const complete = event as Event & { [Name in TextField]?: string }
  // one by one: members that are named take a fraction of the time of a loop's
  if (texts.aggregateType !== undefined) complete.aggregateType = texts.aggregateType
  if (texts.aggregateId !== undefined) complete.aggregateId = texts.aggregateId
  if (texts.tenantId !== undefined) complete.tenantId = texts.tenantId
  if (texts.producer !== undefined) complete.producer = texts.producer
  if (texts.occurredAt !== undefined) complete.occurredAt = texts.occurredAt
  if (texts.traceparent !== undefined) complete.traceparent = texts.traceparent
  return complete
}

/** The fields around a payload, in the order they are written. */
const ENVELOPE_FIELDS = ['eventId', 'eventType', 'schemaVersion', ...TEXT_FIELDS, 'payload'] as const
type EnvelopeField = (typeof ENVELOPE_FIELDS)[number]

/** Their names as bytes, by length: an entry's names are told apart without making strings of them. */
const NAMES_BY_LENGTH: { readonly name: EnvelopeField; readonly bytes: Buffer }[][] = []
for (const name of ENVELOPE_FIELDS) {
  NAMES_BY_LENGTH[name.length] ??= []
  NAMES_BY_LENGTH[name.length]?.push({ name, bytes: Buffer.from(name) })
}

/** The fields that `publish` writes: absent ones are left out, and so is version 1. */
export function encodeEnvelope(event: EnvelopeEvent): Field[] {
  const fields: Field[] = []
  if (event.eventId !== undefined) fields.push(['eventId', event.eventId])
  fields.push(['eventType', event.type])
  if (event.version !== undefined && event.version !== 1) fields.push(['schemaVersion', String(event.version)])
  for (const name of TEXT_FIELDS) {
    const value = event[name]
    if (value !== undefined) fields.push([name, value])
  }
  fields.push(['payload', event.payload])
  return fields
}

/** Reads what `publish` writes: a payload of JSON in one field, its envelope in others. Fields it does not know are left alone. */
export const envelopeCodec: Codec = {
  typeField: 'eventType',
  decode(fields) {
    const envelope = new Envelope()
    for (const field of fields) envelope.add(field[0], field[1])
    const { eventType, schemaVersion, payload, eventId } = envelope
    if (!eventType) throw new MalformedEntryError('Field eventType is missing')
    if (payload === undefined) throw new MalformedEntryError('Field payload is missing')
    const event = {
      type: eventType,
      version: parseVersion(schemaVersion),
      payload: parseJson(payload, 'payload'),
      eventId,
    }
    return withOptionalTexts(event, envelope)
  },
}

/** An entry's known fields as text. All members are there from the start, so that all envelopes have one shape. */
class Envelope implements Record<EnvelopeField, string | undefined> {
  eventId: string | undefined = undefined
  eventType: string | undefined = undefined
  schemaVersion: string | undefined = undefined
  aggregateType: string | undefined = undefined
  aggregateId: string | undefined = undefined
  tenantId: string | undefined = undefined
  producer: string | undefined = undefined
  occurredAt: string | undefined = undefined
  traceparent: string | undefined = undefined
  payload: string | undefined = undefined

  add(bytes: Bytes, value: Bytes): void {
    const name = envelopeField(bytes)
    if (name === undefined) return
    if (this[name] !== undefined) throw new MalformedEntryError(`Field ${name} must not repeat`)
    this[name] = text(value, name)
  }
}

function envelopeField(name: Bytes): EnvelopeField | undefined {
  const isText = typeof name === 'string'
  for (const known of NAMES_BY_LENGTH[name.length] ?? [])
    if (isText ? name === known.name : isSame(name, known.bytes)) return known.name
  return undefined
}

// of equal length; for a few bytes a loop takes a third of the time of Buffer's own equals
function isSame(a: Buffer, b: Buffer): boolean {
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false
  return true
}

/** How to read flat entries that another system writes. */
export interface FlatCodecOptions {
  /** The field that names the event type. Default `event_type`. */
  readonly typeField?: string
  /** The field that holds the schema version, a whole number. Default: every event has version 1. */
  readonly versionField?: string
  /** The field that identifies the event. Default: none, the entry's id does. */
  readonly idField?: string
  /** Fields that hold JSON; the others are strings. */
  readonly jsonFields?: readonly string[]
}

/**
 * Reads entries whose fields are the payload: one member a field, a string or JSON. The fields that name type, version and id are no
 * part of the payload.
 *
 * @throws {TypeError} A bad option.
 */
export function flatCodec(options: FlatCodecOptions = {}): Codec {
  const action = 'make flatCodec'
  assertKnownOptions(action, options, ['typeField', 'versionField', 'idField', 'jsonFields'])
  const { typeField = 'event_type', versionField, idField, jsonFields = [] } = options
  if (!Array.isArray(jsonFields)) throw wrongUseError(action, `jsonFields must be an array, got ${typeof jsonFields}`)
  for (const [name, field] of Object.entries({ typeField, versionField, idField })) {
    if (field !== undefined) checkText(action, name, field)
  }
  for (const field of jsonFields) checkText(action, 'each of jsonFields', field)
  const json = new Set(jsonFields)
  const apart = new Set([typeField, versionField, idField])
  return {
    typeField,
    decode(fields) {
      const texts = new Map<string, string>()
      for (const [nameBytes, valueBytes] of fields) {
        const name = text(nameBytes, 'name')
        // a name that is not this codec's may be a key of the payload
        const known = apart.has(name) || json.has(name) ? name : undefined
        if (texts.has(name)) throw new MalformedEntryError(`Field ${shown(known)} must not repeat`)
        texts.set(name, text(valueBytes, known))
      }
      const type = texts.get(typeField)
      if (!type) throw new MalformedEntryError(`Field ${quotedValue(typeField)} is missing`)
      const members = [...texts].filter(([name]) => !apart.has(name))
      return {
        type,
        version: parseVersion(versionField === undefined ? undefined : texts.get(versionField)),
        eventId: idField === undefined ? undefined : texts.get(idField),
        payload: Object.fromEntries(
          members.map(([name, value]) => [name, json.has(name) ? parseJson(value, name) : value]),
        ),
      }
    },
  }
}

/** Text, exact or refused: bytes that are no UTF-8 would come out changed. */
function text(bytes: Bytes, name: string | undefined): string {
  if (typeof bytes === 'string') return bytes
  const value = bytes.toString()
  if (value.includes('\uFFFD') && !isUtf8(bytes)) throw new MalformedEntryError(`Field ${shown(name)} must be UTF-8`)
  return value
}

function shown(name: string | undefined): string {
  return name === undefined ? 'of the payload' : quotedValue(name)
}

function parseVersion(version: string | undefined): number {
  if (version === undefined) return 1
  if (!/^[1-9]\d*$/.test(version)) throw new MalformedEntryError('Schema version must be a whole number from 1')
  return Number(version)
}

// JSON.parse quotes the payload in its message, so its error is not kept
function parseJson(json: string, name: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    throw new MalformedEntryError(`Field ${quotedValue(name)} must be JSON`)
  }
}
