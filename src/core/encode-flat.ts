import { quotedValue } from '../errors.ts'
import type { Attributes, EncodableEvent, FilledIn, TextField } from './codec.ts'
import type { Flat, TextName } from './flat-fields.ts'
import { TEXT_NAMES, TEXT_OPTIONS } from './flat-fields.ts'
import { UnwritableMemberError } from './flat-members.ts'
import { readTime } from './iso-time.ts'
import { wrongUseError } from './options.ts'
import { splitTraceparent } from './traceparent.ts'

type Refuse = (rule: string) => Error

/** @throws {TypeError} Some of it would not be read back the same. */
export function encodeFlat(flat: Flat, event: EncodableEvent): TextField[] {
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
    if (value === undefined) return []
    const isForeign = name === 'traceparent' && value !== traceId && splitTraceparent(value) === undefined
    // what nobody asked for is left out where it cannot be said
    if (isFilledIn(name) && (field === undefined || isForeign)) return []
    if (field === undefined) throw refuse(`${name} needs a field, by ${TEXT_OPTIONS[name]}`)
    if (isForeign)
      throw refuse(`traceparent must be W3C's; another trace id is given as attributes[${quotedValue(field)}]`)
    if (name === 'occurredAt' && readTime(value) !== value) throw refuse('occurredAt must be ISO 8601')
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
