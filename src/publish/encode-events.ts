import type { Clock } from '../clock.ts'
import type { EncodableEvent, EnvelopeEvent, FilledIn, TextField, TwoWayCodec } from '../core/codec.ts'
import { encodeEnvelope } from '../core/codec.ts'
import { entryBytes, entryBytesUpperBound } from '../core/entry.ts'
import { invalidPayloadError } from '../core/invalid-payload.ts'
import { isDay, isoTime } from '../core/iso-time.ts'
import { readSchemaResult } from '../core/issues.ts'
import { wrongUseError } from '../core/options.ts'
import { promiseIfThenable } from '../core/thenable.ts'
import type { EventDefinition } from '../define/event.ts'
import { OversizeEntryError, quotedValue } from '../errors.ts'
import type { StreamTrim } from '../group/connection.ts'
import { encodeByCodec } from './encode-by-codec.ts'
import { jsonAdvice, payloadToJson } from './json-payload.ts'
import type { EventDraft } from './publication.ts'

/** What every event of a publisher is encoded by. */
export interface EncodeSettings {
  readonly producer: string | undefined
  readonly maxEntryBytes: number
  readonly trim: StreamTrim
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
  const stamp = { now: isoTime(settings.clock.now()), traced }
  const uploads: Upload[] = []
  const waiting = drafts.map((draft) => encodeEvent(action, settings, draft, uploads, stamp))
  const isEncoded = (entry: Encoded | Promise<Encoded>): entry is Encoded => !(entry instanceof Promise)
  const entries = waiting.every(isEncoded) ? waiting : await Promise.all(waiting.map((entry) => Promise.resolve(entry)))
  if (uploads.length > 0) await storeAll(uploads)
  return entries
}

/** Keeps a payload that does not stand in its entry. */
export type Upload = () => Promise<void>

/** None of them goes on once this is over. @throws {unknown} What the first of them failed with. */
async function storeAll(uploads: readonly Upload[]): Promise<void> {
  const ends = await Promise.allSettled(uploads.map((upload) => upload()))
  for (const end of ends) if (end.status === 'rejected') throw end.reason
}

/**
 * The fields of one event, once its payload was checked; a promise where the schema is asynchronous.
 *
 * @param uploads What has to be kept before the entry may be there is added to it.
 */
export function encodeEvent(
  action: string,
  settings: EncodeSettings,
  draft: EventDraft,
  uploads: Upload[],
  stamp: Stamp = { now: isoTime(settings.clock.now()), traced: undefined },
): Encoded | Promise<Encoded> {
  const { event, payload } = draft
  const json = payloadToJson(action, event, payload)
  // what a consumer will read is checked, so that a Date or NaN is refused here and does not become a dead letter there
  const checked = event.payload['~standard'].validate(JSON.parse(json))
  const request: EncodeRequest = { action, settings, draft, json, uploads, stamp }
  const promise = promiseIfThenable(checked)
  return promise ? encodeLater(request, promise) : encode(request, checked as Checked)
}

function encodeLater(request: EncodeRequest, checked: Promise<Checked>): Promise<Encoded> {
  const encoded = checked.then((result) => encode(request, result))
  encoded.catch(() => {}) // thrown where it is waited for, unless another event's refusal is first
  return encoded
}

export type Encoded = readonly TextField[]

/** What an event says of its publishing, unless its publisher says so. */
interface Stamp {
  readonly now: string
  readonly traced: string | undefined
}

const FILLED_IN: readonly FilledIn[] = ['eventId', 'occurredAt', 'traceparent']

type Checked = Awaited<ReturnType<EventDefinition['payload']['~standard']['validate']>>

/** An event whose payload is checked, and what it is encoded by. */
interface EncodeRequest {
  readonly action: string
  readonly settings: EncodeSettings
  readonly draft: EventDraft
  /** Its payload. */
  readonly json: string
  readonly uploads: Upload[]
  readonly stamp: Stamp
}

function encode(request: EncodeRequest, checked: Checked): Encoded {
  const { action, settings, draft, json, stamp } = request
  const { event, options, expectedVersion } = draft
  const { issues } = readSchemaResult(checked)
  if (issues)
    throw invalidPayloadError(event, issues, [draft.payload, JSON.parse(json)], jsonAdvice(draft.payload, issues))
  // one literal: what is put together of parts takes several times as long, for each of many events
  const envelope: EnvelopeEvent = {
    type: event.type,
    version: event.version,
    eventId: draft.eventId,
    aggregateType: options.aggregateType,
    aggregateId: options.aggregateId,
    tenantId: options.tenantId,
    producer: settings.producer,
    occurredAt: options.occurredAt === undefined ? stamp.now : toIso(action, options.occurredAt),
    traceparent: options.traceparent === undefined ? stamp.traced : options.traceparent,
    aggregateVersion: expectedVersion === undefined ? undefined : expectedVersion + 1,
    attributes: options.attributes,
    payload: json,
  }
  const fields = settings.codec ? encodeOtherwise(request, settings.codec, envelope) : encodeEnvelope(envelope)
  const { maxEntryBytes } = settings
  if (entryBytesUpperBound(fields) <= maxEntryBytes) return fields
  const bytes = entryBytes(fields)
  if (bytes > maxEntryBytes) {
    const entry = `Cannot ${action}: the entry of ${quotedValue(event.type)}`
    const advice = settings.codec?.offload ? '' : '; claimCheck() keeps large payloads in a store'
    throw new OversizeEntryError(bytes, maxEntryBytes, entry, advice)
  }
  return fields
}

/** Encodes by a codec that is not the default one. */
function encodeOtherwise(
  { action, settings, draft, json, uploads }: EncodeRequest,
  codec: TwoWayCodec,
  envelope: EnvelopeEvent,
): Encoded {
  const { event, options, delay } = draft
  const filledIn = FILLED_IN.filter((name) => options[name] === undefined)
  let whole: EncodableEvent = { ...envelope, payload: JSON.parse(json), filledIn }
  const offloaded = codec.offload?.(whole, { json, keptMs: keptMs(settings, delay) })
  if (offloaded) {
    whole = offloaded.event
    uploads.push(() => offloaded.store())
  }
  return encodeByCodec(action, codec, event, whole)
}

/** For how long an entry will be needed at least. */
function keptMs({ trim, clock }: EncodeSettings, delay: EventDraft['delay']): number {
  const delayMs = !delay ? 0 : 'delayMs' in delay ? delay.delayMs : Math.max(0, delay.deliverAt - clock.now())
  return delayMs + (trim.kind === 'age' ? trim.retentionMs : 0)
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
