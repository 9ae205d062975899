import type { Consumer } from '../consumer.ts'
import type { DecodedEvent } from '../core/codec.ts'
import { withTexts } from '../core/codec.ts'
import type { Entry } from '../core/entry.ts'
import { entryBytes } from '../core/entry.ts'
import { issuesOf } from '../core/issues.ts'
import type { DeadLetterReason } from '../core/outcome.ts'
import { quoted } from '../core/quoted.ts'
import { isThenable } from '../core/thenable.ts'
import {
  InvalidPayloadError,
  MalformedEntryError,
  NoRouteError,
  OversizeEntryError,
  UnsupportedVersionError,
} from '../errors.ts'
import type { Event } from '../event.ts'
import type { Route } from '../route.ts'

/** An entry ready for its handler. */
export interface Prepared {
  readonly kind: 'prepared'
  readonly event: Event
  readonly route: Route
  readonly decoded: DecodedEvent
}

/** An entry that no retry can help: it never reaches a handler. */
export interface Rejected {
  readonly kind: 'rejected'
  readonly reason: DeadLetterReason
  readonly error: unknown
  /** What could still be read of it. */
  readonly decoded: DecodedEvent | undefined
}

/** Decodes an entry, finds its route, lifts its payload and checks it. Waits only for a schema that is asynchronous. */
export function prepare(entry: Entry, consumer: Consumer): Prepared | Rejected | Promise<Prepared | Rejected> {
  const bytes = entryBytes(entry.fields)
  if (bytes > consumer.settings.maxEntryBytes) {
    return rejected('oversize', new OversizeEntryError(bytes, consumer.settings.maxEntryBytes))
  }
  let decoded: DecodedEvent
  try {
    decoded = assertDecoded(consumer.codec.decode(entry.fields, entry.id))
  } catch (error) {
    return rejected('malformed', error)
  }
  const route = consumer.routes.get(decoded.type)
  if (!route) return rejected('no-route', new NoRouteError(decoded.type), decoded)
  return check(entry, consumer, route, decoded)
}

function check(
  entry: Entry,
  { stream }: Consumer,
  route: Route,
  decoded: DecodedEvent,
): Prepared | Rejected | Promise<Prepared | Rejected> {
  const { type, version: current, payload: schema } = route.event
  const version = decoded.version ?? 1
  if (!isSupported(route, version)) {
    return rejected('unsupported-version', new UnsupportedVersionError(type, version, current), decoded)
  }
  let payload: unknown
  try {
    payload = lift(route, version, decoded.payload)
  } catch (error) {
    const issue = { path: '', message: `the upcast from version ${version} failed: ${String(error)}` }
    return rejected('invalid', new InvalidPayloadError(type, [issue]), decoded)
  }
  type Result = Awaited<ReturnType<(typeof schema)['~standard']['validate']>>
  const finish = (result: Result): Prepared | Rejected => {
    if (result.issues) return rejected('invalid', new InvalidPayloadError(type, issuesOf(result.issues)), decoded)
    if (!('value' in result))
      throw new TypeError(`Cannot check ${quoted(type)}: its schema answered neither a value nor issues`)
    return { kind: 'prepared', route, decoded, event: toEvent(decoded, current, result.value, stream, entry.id) }
  }
  const result = schema['~standard'].validate(payload)
  return isThenable(result) ? Promise.resolve(result).then(finish) : finish(result)
}

/** What a codec gave is an event: a codec of the user's own may be wrong, or asynchronous. */
function assertDecoded(decoded: DecodedEvent): DecodedEvent {
  if (isThenable<unknown>(decoded)) {
    decoded.then(undefined, () => {})
    throw new MalformedEntryError('The codec must decode at once, not give a promise')
  }
  const { type, version = 1 } = (decoded ?? {}) as Partial<DecodedEvent>
  if (typeof type !== 'string' || type === '') throw new MalformedEntryError('The codec must name a type')
  if (!Number.isInteger(version) || version < 1)
    throw new MalformedEntryError('Schema version must be a whole number from 1')
  return decoded
}

/** Whether the definition is at that version, or lifts lead from it to there. */
function isSupported({ event }: Route, version: number): boolean {
  if (version > event.version) return false
  for (let from = version; from < event.version; from++) if (!event.upcast[from]) return false
  return true
}

function lift({ event }: Route, version: number, payload: unknown): unknown {
  let lifted = payload
  for (let from = version; from < event.version; from++)
    lifted = event.upcast[from]?.(lifted as Record<string, unknown>)
  return lifted
}

function toEvent(decoded: DecodedEvent, version: number, payload: unknown, stream: string, entryId: string): Event {
  const { type, eventId } = decoded
  return withTexts({ type, version, payload, eventId: eventId || `${stream}:${entryId}` }, decoded)
}

function rejected(reason: DeadLetterReason, error: unknown, decoded?: DecodedEvent): Rejected {
  return { kind: 'rejected', reason, error, decoded }
}
