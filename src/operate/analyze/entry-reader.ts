import { isUtf8 } from 'node:buffer'
import type { Codec } from '../../core/codec.ts'
import { checkDecodedEvent } from '../../core/decoded-event.ts'
import type { Bytes, Entry } from '../../core/entry.ts'
import { MillraceError } from '../../errors.ts'
import { FieldNames } from './field-names.ts'
import type { AnalyzedFields } from './options.ts'

/** What is counted of an entry. */
export interface ReadEntry {
  /** Why it is no event; left out where it is one. */
  readonly problem?: string
  readonly type: Bytes | undefined
  readonly producer: Bytes | undefined
  readonly occurredAt: Bytes | undefined
  /** The payload's bytes, where one field has them. */
  readonly payload?: Bytes | undefined
  /** The payload as a codec decoded it. */
  readonly decoded?: { readonly payload: unknown }
  readonly payloadBytes: number
  readonly entryBytes: number
}

export type EntryReader = (entry: Entry) => ReadEntry

/** What reads entries: a codec, or the names of fields. */
export function createEntryReader(fields: AnalyzedFields, codec?: Codec): EntryReader {
  const names = new FieldNames(fields)
  const byName: EntryReader = (entry) => readFields(entry, names)
  return codec === undefined ? byName : (entry) => decode(entry, codec, byName(entry))
}

/** Reads an entry by the names of its fields. Nothing becomes text, so that a payload of a megabyte costs as little as one of ten bytes. */
function readFields({ fields }: Entry, names: FieldNames): ReadEntry {
  const found: Partial<Record<'type' | 'payload' | 'producer' | 'occurredAt', Bytes>> = {}
  let repeated = false
  let entryBytes = 0
  let otherBytes = 0
  for (const [name, value] of fields) {
    const role = names.roleOf(name)
    const bytes = bytesOf(name) + bytesOf(value)
    entryBytes += bytes
    if (role === undefined) otherBytes += bytes
    else if (found[role] === undefined) found[role] = value
    else if (role === 'type') repeated = true
  }
  const { type, payload, producer, occurredAt } = found
  const problem = problemOf(type, repeated)
  const payloadBytes = payload === undefined ? otherBytes : bytesOf(payload)
  return { ...(problem !== undefined && { problem }), type, payload, producer, occurredAt, payloadBytes, entryBytes }
}

function problemOf(type: Bytes | undefined, isRepeated: boolean): string | undefined {
  if (type === undefined) return 'no event type'
  if (isRepeated) return 'more than one event type'
  if (type.length === 0) return 'an empty event type'
  return typeof type === 'string' || isUtf8(type) ? undefined : 'an event type that is no UTF-8'
}

function decode(entry: Entry, codec: Codec, named: ReadEntry): ReadEntry {
  const { payload, payloadBytes, entryBytes } = named
  try {
    const event = checkDecodedEvent(codec.decode(entry.fields, entry.id), Number.POSITIVE_INFINITY)
    const { type, producer = named.producer, occurredAt = named.occurredAt } = event
    return { type, producer, occurredAt, payload, payloadBytes, entryBytes, decoded: { payload: event.payload } }
  } catch (error) {
    // what another codec throws may quote the payload
    const problem = error instanceof MillraceError ? error.message : 'its codec cannot read it'
    return { problem, type: undefined, producer: undefined, occurredAt: undefined, payload, payloadBytes, entryBytes }
  }
}

function bytesOf(bytes: Bytes): number {
  return typeof bytes === 'string' ? Buffer.byteLength(bytes) : bytes.length
}
