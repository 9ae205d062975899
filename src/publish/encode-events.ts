import type { Clock } from '../clock.ts'
import type { FilledIn, TextField, TwoWayCodec } from '../core/codec.ts'
import { encodeEnvelope } from '../core/codec.ts'
import { entryBytes, entryBytesUpperBound } from '../core/entry.ts'
import { invalidPayloadError } from '../core/invalid-payload.ts'
import { isDay, isoTime } from '../core/iso-time.ts'
import { readSchemaResult } from '../core/issues.ts'
import { wrongUseError } from '../core/options.ts'
import { promiseIfThenable } from '../core/thenable.ts'
import type { EventDefinition } from '../define/event.ts'
import { OversizeEntryError, quotedValue } from '../errors.ts'
import { encodeByCodec } from './encode-by-codec.ts'
import type { EventDraft } from './publication.ts'

/** What every event of a publisher is encoded by. */
export interface EncodeSettings {
  readonly producer: string | undefined
  readonly maxEntryBytes: number
  readonly clock: Clock
  /** `undefined`: as `envelopeCodec`. */
  readonly codec: TwoWayCodec | undefined
}

/** The fields of each event, once every payload was checked. Waits only for schemas that are asynchronous. */
export async function encodeEvents(
  action: string,
  settings: EncodeSettings,
  drafts: readonly EventDraft[],
  traced: string | undefined,
): Promise<readonly Encoded[]> {
  const now = isoTime(settings.clock.now())
  const entries = drafts.map((draft) => encodeEvent(action, settings, draft, { now, traced }))
  const isEncoded = (entry: Encoded | Promise<Encoded>): entry is Encoded => !(entry instanceof Promise)
  return entries.every(isEncoded) ? entries : Promise.all(entries.map((entry) => Promise.resolve(entry)))
}

/** The fields of one event, once its payload was checked; a promise where the schema is asynchronous. */
export function encodeEvent(
  action: string,
  settings: EncodeSettings,
  draft: EventDraft,
  stamp: Stamp = { now: isoTime(settings.clock.now()), traced: undefined },
): Encoded | Promise<Encoded> {
  const { event, payload } = draft
  const json = toJson(action, event.type, payload)
  // what a consumer will read is checked, so that a Date or NaN is refused here and does not become a dead letter there
  const checked = event.payload['~standard'].validate(JSON.parse(json))
  const encoded = (result: Checked) => encode(action, settings, draft, json, result, stamp)
  const waiting = promiseIfThenable(checked)?.then(encoded)
  if (!waiting) return encoded(checked as Checked)
  waiting.catch(() => {}) // thrown where it is waited for, unless another event's refusal is first
  return waiting
}

export type Encoded = readonly TextField[]

/** What an event says of its publishing, unless its publisher says so. */
interface Stamp {
  readonly now: string
  readonly traced: string | undefined
}

const FILLED_IN: readonly FilledIn[] = ['eventId', 'occurredAt', 'traceparent']

type Checked = Awaited<ReturnType<EventDefinition['payload']['~standard']['validate']>>

function encode(
  action: string,
  { producer, maxEntryBytes, codec }: EncodeSettings,
  { event, payload: given, options, eventId, expectedVersion }: EventDraft,
  payload: string,
  checked: Checked,
  { now, traced }: Stamp,
): Encoded {
  const { type, version } = event
  const { issues } = readSchemaResult(checked)
  if (issues) throw invalidPayloadError(event, issues, [given, JSON.parse(payload)])
  const { aggregateType, aggregateId, tenantId, traceparent = traced, attributes } = options
  const occurredAt = options.occurredAt === undefined ? now : toIso(action, options.occurredAt)
  const texts = { aggregateType, aggregateId, tenantId, producer, occurredAt, traceparent }
  const aggregateVersion = expectedVersion === undefined ? undefined : expectedVersion + 1
  const said = { type, version, eventId, ...texts, aggregateVersion, attributes }
  const filledIn = () => FILLED_IN.filter((name) => options[name] === undefined)
  const fields = codec
    ? encodeByCodec(action, codec, event, { ...said, payload: JSON.parse(payload), filledIn: filledIn() })
    : encodeEnvelope({ ...said, payload })
  if (entryBytesUpperBound(fields) <= maxEntryBytes) return fields
  const bytes = entryBytes(fields)
  if (bytes > maxEntryBytes) throw new OversizeEntryError(bytes, maxEntryBytes)
  return fields
}

function toJson(action: string, type: string, payload: unknown): string {
  const rule = () => `Cannot ${action}: the payload of ${quotedValue(type)} must be JSON`
  let json: string | undefined
  try {
    json = JSON.stringify(payload)
  } catch {
    throw new TypeError(`${rule()}: it holds a BigInt, refers to itself, or cannot be read`)
  }
  if (json === undefined) throw new TypeError(`${rule()}, got ${typeof payload}`)
  return json
}

const ISO_8601 = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}([.,]\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$/

function toIso(action: string, occurredAt: Date | string): string {
  const isText = typeof occurredAt === 'string'
  const date = isText ? new Date(occurredAt) : occurredAt
  const isValid =
    date instanceof Date &&
    !Number.isNaN(date.getTime()) &&
    (!isText || (ISO_8601.test(occurredAt) && isDay(occurredAt.slice(0, 10))))
  if (!isValid) {
    throw wrongUseError(
      action,
      `occurredAt must be a valid Date or ISO 8601, got ${quotedValue(occurredAt)}`,
      RangeError,
    )
  }
  return isText ? occurredAt : date.toISOString()
}
