import { MalformedEntryError, quotedValue } from '../errors.ts'
import type { DecodedEvent } from './codec.ts'
import { parseVersion, withOptionalTexts } from './codec.ts'
import type { Field } from './entry.ts'
import { exactText, shownField } from './exact-text.ts'
import type { Flat } from './flat-fields.ts'
import { readTime } from './iso-time.ts'
import { splitTraceparent } from './traceparent.ts'

/** @throws {MalformedEntryError} Its type is missing, a name repeats, or a value is not what its field holds. */
export function decodeFlat(flat: Flat, fields: readonly Field[]): DecodedEvent {
  const { typeField, versionField, textFields, apart, members } = flat
  const texts = textsOf(flat, fields)
  const saidIn = (field: string | undefined) => (field === undefined ? undefined : texts.get(field))
  const type = flat.type ?? saidIn(typeField)
  if (!type) throw new MalformedEntryError(`Field ${quotedValue(typeField)} is missing`)
  const occurredAt = saidIn(textFields.occurredAt)
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
    occurredAt: occurredAt && readTime(occurredAt),
    traceparent: isTraceparent ? trace : undefined,
    attributes: isTraceparent || trace === undefined ? undefined : { [textFields.traceparent as string]: trace },
  })
}

function textsOf({ apart, members }: Flat, fields: readonly Field[]): ReadonlyMap<string, string> {
  const texts = new Map<string, string>()
  for (const [nameBytes, valueBytes] of fields) {
    const name = exactText(nameBytes, 'name')
    // a name that is not this codec's may be a key of the payload
    const known = apart.has(name) || members.jsonFields.has(name) ? name : undefined
    if (texts.has(name)) throw new MalformedEntryError(`Field ${shownField(known)} must not repeat`)
    texts.set(name, exactText(valueBytes, known))
  }
  return texts
}
