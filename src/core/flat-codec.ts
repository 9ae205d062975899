import { quotedValue } from '../errors.ts'
import type { TwoWayCodec } from './codec.ts'
import { decodeFlat } from './decode-flat.ts'
import { encodeFlat } from './encode-flat.ts'
import type { Flat } from './flat-fields.ts'
import { TEXT_NAMES, TEXT_OPTIONS } from './flat-fields.ts'
import type { FlatMembers } from './flat-members.ts'
import { MEMBERS_BY_VALUE, membersByName } from './flat-members.ts'
import { assertKnownOptions, assertText, wrongUseError } from './options.ts'

/** Which fields of flat entries say what. No two options name the same one. */
export interface FlatCodecOptions {
  /** The type of all entries, where no field says it. The server then does not see types: entries of a paused one are fetched, and put back at no delivery. */
  readonly type?: string
  /** The field that names the event type. Default `event_type`, unless `type` is given. */
  readonly typeField?: string
  /** The field that holds the schema version, a whole number. Default: every event has version 1. */
  readonly versionField?: string
  /** The field that identifies the event. Default: none, the entry's id does, and the `eventId` that `publish` answers stands in no entry. */
  readonly idField?: string
  /** The field of `aggregateType`. Default: none. */
  readonly aggregateTypeField?: string
  /** The field of `aggregateId`. Default: none. */
  readonly aggregateIdField?: string
  /** The field of `tenantId`. Default: none. */
  readonly tenantIdField?: string
  /** The field of `producer`; a publisher with a `producer` needs it. Default: none. */
  readonly producerField?: string
  /**
   * The field that says when it happened. Seconds of ten digits and milliseconds of thirteen since 1970, with a fraction or without, become ISO 8601; any other
   * text stays as it is, a time without a zone too. Default: none.
   */
  readonly occurredAtField?: string
  /** The field that says of which trace it is: a W3C traceparent is the event's `traceparent`, anything else stays under the field's name in its `attributes`. Default: none. */
  readonly traceIdField?: string
  /**
   * Fields that hold JSON; the others are strings. `'all'`: each field that begins with `{` or `[` and is JSON, so that digits, `True` and what only looks like JSON
   * stay strings. Default: none.
   */
  readonly jsonFields?: readonly string[] | 'all'
}

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
    assertIsFree(action, optionOf, field, name)
    optionOf.set(field, name)
  }
  const textFields = Object.fromEntries(TEXT_NAMES.map((name) => [name, options[TEXT_OPTIONS[name]]]))
  return {
    type,
    typeField,
    versionField: options.versionField,
    textFields: textFields as Flat['textFields'],
    apart: new Set(optionOf.keys()),
    members: resolveMembers(action, jsonFields, optionOf),
  }
}

function assertIsFree(action: string, optionOf: ReadonlyMap<string, string>, field: string, name: string): void {
  const other = optionOf.get(field)
  if (other !== undefined)
    throw wrongUseError(action, `${other} and ${name} must name different fields, got ${quotedValue(field)}`)
}

function resolveMembers(
  action: string,
  jsonFields: readonly string[] | 'all',
  optionOf: ReadonlyMap<string, string>,
): FlatMembers {
  if (jsonFields === 'all') return MEMBERS_BY_VALUE
  if (!Array.isArray(jsonFields))
    throw wrongUseError(action, `jsonFields must be an array, or "all", got ${typeof jsonFields}`)
  for (const field of jsonFields) {
    assertText(action, 'each of jsonFields', field)
    assertIsFree(action, optionOf, field, 'jsonFields')
  }
  return membersByName(jsonFields)
}
