import { MalformedEntryError, quotedValue } from '../errors.ts'
import type { Attributes, DecodedEvent, EncodableEvent, FilledIn, TextField, TwoWayCodec } from './codec.ts'
import { parseVersion, shownField, text, withOptionalTexts } from './codec.ts'
import type { Field } from './entry.ts'
import type { FlatMembers } from './flat-members.ts'
import { MEMBERS_BY_VALUE, membersByName, UnwritableMemberError } from './flat-members.ts'
import { isoTime } from './iso-time.ts'
import { assertKnownOptions, assertText, wrongUseError } from './options.ts'
import { splitTraceparent } from './traceparent.ts'

/** Which fields of flat entries say what. Each is named at most once. */
export interface FlatCodecOptions {
  /** The type of all entries, where no field says it. The server then cannot tell by type which entries are paused: they are fetched, and put back. */
  readonly type?: string
  /** The field that names the event type. Default `event_type`, unless `type` is given. */
  readonly typeField?: string
  /** The field that holds the schema version, a whole number. Default: every event has version 1. */
  readonly versionField?: string
  /** The field that identifies the event. Default: none, the entry's id does. */
  readonly idField?: string
  readonly aggregateTypeField?: string
  readonly aggregateIdField?: string
  readonly tenantIdField?: string
  readonly producerField?: string
  /**
   * The field that says when it happened. Seconds of ten digits and milliseconds of thirteen since 1970, with a fraction or without, become ISO 8601; any other
   * text stays as it is, a time without a zone too.
   */
  readonly occurredAtField?: string
  /** The field that says of which trace it is: a W3C traceparent is the event's `traceparent`, anything else stays under the field's name in its `attributes`. */
  readonly traceIdField?: string
  /**
   * Fields that hold JSON; the others are strings. `'all'`: each field that begins with `{` or `[` and is JSON, so that digits, `True` and what only looks like JSON
   * stay strings. Default: none.
   */
  readonly jsonFields?: readonly string[] | 'all'
}

/** The option that names the field of a text, in the order in which they are written. */
const TEXT_OPTIONS = {
  eventId: 'idField',
  aggregateType: 'aggregateTypeField',
  aggregateId: 'aggregateIdField',
  tenantId: 'tenantIdField',
  producer: 'producerField',
  occurredAt: 'occurredAtField',
  traceparent: 'traceIdField',
} as const
type TextName = keyof typeof TEXT_OPTIONS
const TEXT_NAMES = Object.keys(TEXT_OPTIONS) as TextName[]

const FIELD_OPTIONS = ['typeField', 'versionField', ...Object.values(TEXT_OPTIONS)] as const

/**
 * Reads and writes entries whose fields are the payload: one member a field, a string or JSON. The fields that the other options name are no part of the payload.
 *
 * Writing refuses what would not be read back the same: a member that is neither a string nor JSON by `jsonFields`, one that is named as a field apart, under
 * `'all'` a string that is a JSON object or array, a version, text or attribute that has no field.
 *
 * @throws {TypeError} A bad option.
 */
export function flatCodec(options: FlatCodecOptions = {}): TwoWayCodec {
  const flat = resolveFlat(options)
  return {
    ...(flat.typeField !== undefined && { typeField: flat.typeField }),
    decode: (fields) => decodeFlat(flat, fields),
    encode: (event) => encodeFlat(flat, event),
  }
}

interface Flat {
  readonly type: string | undefined
  readonly typeField: string | undefined
  readonly versionField: string | undefined
  readonly textFields: { readonly [Name in TextName]: string | undefined }
  /** Fields that are no part of the payload. */
  readonly apart: ReadonlySet<string>
  readonly members: FlatMembers
}

function resolveFlat(options: FlatCodecOptions): Flat {
  const action = 'make flatCodec'
  assertKnownOptions(action, options, ['type', ...FIELD_OPTIONS, 'jsonFields'])
  const { type, jsonFields = [] } = options
  if (type !== undefined && options.typeField !== undefined)
    throw wrongUseError(action, 'type and typeField must not both be given')
  if (type !== undefined) assertText(action, 'type', type)
  const typeField = type === undefined ? (options.typeField ?? 'event_type') : undefined
  const optionOf = new Map<string, string>()
  for (const name of FIELD_OPTIONS) {
    const field = name === 'typeField' ? typeField : options[name]
    if (field === undefined) continue
    assertText(action, name, field)
    const other = optionOf.get(field)
    if (other !== undefined)
      throw wrongUseError(action, `${other} and ${name} must name different fields, got ${quotedValue(field)}`)
    optionOf.set(field, name)
  }
  const textFields = Object.fromEntries(TEXT_NAMES.map((name) => [name, options[TEXT_OPTIONS[name]]]))
  return {
    type,
    typeField,
    versionField: options.versionField,
    textFields: textFields as Flat['textFields'],
    apart: new Set(optionOf.keys()),
    members: resolveMembers(action, jsonFields),
  }
}

function resolveMembers(action: string, jsonFields: readonly string[] | 'all'): FlatMembers {
  if (jsonFields === 'all') return MEMBERS_BY_VALUE
  if (!Array.isArray(jsonFields))
    throw wrongUseError(action, `jsonFields must be an array, or "all", got ${typeof jsonFields}`)
  for (const field of jsonFields) assertText(action, 'each of jsonFields', field)
  return membersByName(jsonFields)
}

function decodeFlat(flat: Flat, fields: readonly Field[]): DecodedEvent {
  const { typeField, versionField, textFields, apart, members } = flat
  const texts = textsOf(flat, fields)
  const saidIn = (field: string | undefined) => (field === undefined ? undefined : texts.get(field))
  const type = flat.type ?? saidIn(typeField)
  if (!type) throw new MalformedEntryError(`Field ${quotedValue(typeField)} is missing`)
  const trace = saidIn(textFields.traceparent)
  const isTraceparent = trace !== undefined && splitTraceparent(trace) !== undefined
  const own = [...texts].filter(([name]) => !apart.has(name))
  const event = {
    type,
    version: parseVersion(saidIn(versionField)),
    eventId: saidIn(textFields.eventId),
    payload: Object.fromEntries(own.map(([name, value]) => [name, members.parse(name, value)])),
  }
  return withOptionalTexts(event, {
    aggregateType: saidIn(textFields.aggregateType),
    aggregateId: saidIn(textFields.aggregateId),
    tenantId: saidIn(textFields.tenantId),
    producer: saidIn(textFields.producer),
    occurredAt: timeText(saidIn(textFields.occurredAt)),
    traceparent: isTraceparent ? trace : undefined,
    attributes: isTraceparent || trace === undefined ? undefined : { [textFields.traceparent as string]: trace },
  })
}

function textsOf({ apart, members }: Flat, fields: readonly Field[]): ReadonlyMap<string, string> {
  const texts = new Map<string, string>()
  for (const [nameBytes, valueBytes] of fields) {
    const name = text(nameBytes, 'name')
    // a name that is not this codec's may be a key of the payload
    const known = apart.has(name) || members.jsonFields.has(name) ? name : undefined
    if (texts.has(name)) throw new MalformedEntryError(`Field ${shownField(known)} must not repeat`)
    texts.set(name, text(valueBytes, known))
  }
  return texts
}

/** Seconds and milliseconds since 1970, as Python's time.time() and JavaScript's Date.now() give them from 2001 to 2286. */
const EPOCH = /^(?:(\d{10})|\d{13})(?:\.\d+)?$/

/** A time as ISO 8601, where it is a number; otherwise as it stands there. */
function timeText(value: string): string
function timeText(value: string | undefined): string | undefined
function timeText(value: string | undefined): string | undefined {
  const epoch = EPOCH.exec(value ?? '')
  return epoch ? isoTime(Math.round(Number(value) * (epoch[1] === undefined ? 1 : 1_000))) : value
}

type Refuse = (rule: string) => Error

function encodeFlat(flat: Flat, event: EncodableEvent): TextField[] {
  const refuse: Refuse = (rule) => wrongUseError(`encode ${quotedValue(event.type)}`, rule)
  const fields = [
    ...typeFields(flat, event, refuse),
    ...textFieldsOf(flat, event, refuse),
    ...memberFields(flat, event, refuse),
  ]
  if (fields.length === 0) throw refuse('its payload must have a member: an entry has one field at least')
  if (!fields.flat().every((one) => one.isWellFormed())) throw refuse('its texts must be of whole characters')
  return fields
}

function typeFields(flat: Flat, { type, version = 1 }: EncodableEvent, refuse: Refuse): TextField[] {
  const { typeField, versionField } = flat
  if (flat.type !== undefined && type !== flat.type)
    throw refuse(`the codec has type ${quotedValue(flat.type)} for all entries`)
  if (version !== 1 && versionField === undefined) throw refuse(`version ${version} needs a field, by versionField`)
  return [
    ...(typeField === undefined ? [] : [[typeField, type] as const]),
    ...(versionField === undefined ? [] : [[versionField, String(version)] as const]),
  ]
}

function textFieldsOf({ textFields }: Flat, event: EncodableEvent, refuse: Refuse): TextField[] {
  const isFilledIn = (name: TextName) => event.filledIn?.includes(name as FilledIn) === true
  const traceId = traceIdOf(textFields.traceparent, event.attributes, refuse)
  if (traceId !== undefined && event.traceparent !== undefined && !isFilledIn('traceparent'))
    throw refuse('its trace must stand in traceparent or in attributes, not in both')
  return TEXT_NAMES.flatMap((name): TextField[] => {
    const value = (name === 'traceparent' ? traceId : undefined) ?? event[name]
    const field = textFields[name]
    if (value === undefined || (field === undefined && isFilledIn(name))) return []
    if (field === undefined) throw refuse(`${name} needs a field, by ${TEXT_OPTIONS[name]}`)
    if (name === 'traceparent' && value !== traceId && !splitTraceparent(value) && !isFilledIn(name))
      throw refuse(`traceparent must be W3C's; another trace id is given as attributes[${quotedValue(field)}]`)
    if (name === 'occurredAt' && timeText(value) !== value) throw refuse('occurredAt must be ISO 8601')
    return [[field, value]]
  })
}

/** The trace id that is no traceparent: all that an event can have as attributes. */
function traceIdOf(field: string | undefined, attributes: Attributes = {}, refuse: Refuse): string | undefined {
  const [[name, value] = [], ...more] = Object.entries(attributes)
  if (name === undefined || value === undefined) return undefined
  if (name !== field || more.length > 0)
    throw refuse('attributes have no field in a flat entry, where further fields are the payload')
  if (splitTraceparent(value))
    throw refuse(`attributes[${quotedValue(name)}] is a traceparent, and must be given as such`)
  return value
}

function memberFields({ apart, members }: Flat, { type, payload }: EncodableEvent, refuse: Refuse): TextField[] {
  if (typeof payload !== 'object' || payload === null || Array.isArray(payload))
    throw refuse('its payload must be an object: each member is a field')
  // as JSON has it, what is undefined is not there
  const own = Object.entries(payload).filter(([, value]) => value !== undefined)
  return own.map(([name, value]): TextField => {
    if (apart.has(name)) throw refuse(`its payload must have no member ${quotedValue(name)}, which is a field apart`)
    const written = members.write(name, value)
    if (written === undefined) throw new UnwritableMemberError(type, name, members.rule)
    return [name, written]
  })
}
