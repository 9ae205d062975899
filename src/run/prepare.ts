import type { DecodedEvent } from '../core/codec.ts'
import { envelopeCodec, withOptionalTexts } from '../core/codec.ts'
import { codecError } from '../core/codec-error.ts'
import { errorTexts } from '../core/dead-letter/dead-letter.ts'
import { checkDecodedEvent } from '../core/decoded-event.ts'
import type { Entry } from '../core/entry.ts'
import { invalidPayloadError } from '../core/invalid-payload.ts'
import type { SchemaResult } from '../core/issues.ts'
import { oneIssue, readSchemaResult } from '../core/issues.ts'
import type { DeadLetterReason } from '../core/outcome.ts'
import { ignoreRejection, isThenable, promiseIfThenable } from '../core/thenable.ts'
import type { Consumer } from '../define/consumer.ts'
import type { Event } from '../define/event.ts'
import type { Route } from '../define/route.ts'
import { NoRouteError, quotedValue, UnsupportedVersionError } from '../errors.ts'
import { newerVersionCondition, unroutedCondition } from './awaited.ts'
import type { ExpiryCheck } from './expiry.ts'
import type { AwaitingEntry, IgnoredEntry, RejectedEntry } from './rejected.ts'
import { IGNORED_ENTRY } from './rejected.ts'

/** An entry ready for its handler. */
export interface PreparedEntry {
  readonly kind: 'prepared'
  readonly event: Event
  readonly route: Route
  readonly decoded: DecodedEvent
}

/** What became of an entry before its handler is called. */
export type PrepareResult = PreparedEntry | RejectedEntry | IgnoredEntry | AwaitingEntry

/**
 * Decodes an entry, finds its route, lifts its payload and checks it. Waits only for a schema that is asynchronous. Whether it is for the group comes before
 * whether it has expired, and both before what its payload must be.
 */
export function prepareEntry(
  entry: Entry,
  consumer: Consumer,
  expiry?: ExpiryCheck,
): PrepareResult | Promise<PreparedEntry | RejectedEntry> {
  let decoded: DecodedEvent
  try {
    const { codec } = consumer
    const answer = codec.decode(entry.fields, entry.id)
    // what our own answers is an event, and no longer than its entry
    decoded = codec === envelopeCodec ? answer : checkDecodedEvent(answer, consumer.settings.maxEntryBytes)
  } catch (error) {
    ignoreRejection(error)
    return rejected('malformed', codecError(error, entry.fields))
  }
  if (consumer.filter && !consumer.filter.matches(decoded)) return IGNORED_ENTRY
  const route = consumer.routes.get(decoded.type)
  if (!route && consumer.settings.unrouted === 'ignore') return IGNORED_ENTRY
  if (!route && consumer.settings.unrouted === 'park')
    return { kind: 'awaiting', condition: unroutedCondition(decoded.type) }
  if (!route) return rejected('unrouted', new NoRouteError(decoded.type), decoded)
  return expiry?.(entry.id, route, decoded) ?? check(entry, consumer, route, decoded)
}

/**
 * Whether the route's `when` wants the event.
 *
 * @throws {TypeError} It answered something else than true or false.
 * @throws {unknown} What it threw.
 */
export function isWantedByRoute({ route, event }: PreparedEntry): boolean {
  if (!route.when) return true
  const answer = route.when(event as never)
  if (typeof answer === 'boolean') return answer
  ignoreRejection(answer)
  const got = isThenable(answer) ? 'a promise' : typeof answer
  throw new TypeError(`when of ${quotedValue(event.type)} must answer true or false, got ${got}`)
}

function check(
  entry: Entry,
  { stream, settings }: Consumer,
  route: Route,
  decoded: DecodedEvent,
): PrepareResult | Promise<PreparedEntry | RejectedEntry> {
  const { type, version: current, payload: schema } = route.event
  const version = decoded.version ?? 1
  if (!isSupported(route, version)) {
    if (version > current && settings.newerVersion === 'park')
      return { kind: 'awaiting', condition: newerVersionCondition(type, version) }
    const reason = version > current ? 'newer-version' : 'unsupported-version'
    return rejected(reason, new UnsupportedVersionError(type, version, current), decoded)
  }
  let payload: unknown
  const finish = (checked: SchemaResult): PreparedEntry | RejectedEntry => {
    if (checked.issues)
      return rejected('invalid', invalidPayloadError(route.event, checked.issues, [decoded.payload, payload]), decoded)
    return { kind: 'prepared', route, decoded, event: toEvent(decoded, current, checked.value, stream, entry.id) }
  }
  try {
    payload = lift(route, version, decoded.payload)
  } catch (error) {
    ignoreRejection(error)
    const { name, message } = errorTexts(error)
    return finish(oneIssue(`the upcast from version ${version} failed: ${name}: ${message}`))
  }
  const result: unknown = schema['~standard'].validate(payload)
  let promise: Promise<unknown> | undefined
  try {
    promise = promiseIfThenable(result)
  } catch {
    return finish(readSchemaResult(undefined))
  }
  return promise ? promise.then((answer) => finish(readSchemaResult(answer))) : finish(readSchemaResult(result))
}

/** Whether the definition is at that version, or lifts lead from it to there. */
function isSupported({ event }: Route, version: number): boolean {
  if (version > event.version) return false
  for (let from = version; from < event.version; from++) if (!event.upcast[from]) return false
  return true
}

function lift({ event }: Route, version: number, payload: unknown): unknown {
  let lifted = payload
  for (let from = version; from < event.version; from++) {
    lifted = event.upcast[from]?.(lifted as Record<string, unknown>)
    const promise = promiseIfThenable(lifted)
    promise?.catch(() => {})
    if (promise) throw new TypeError('it gave a promise, which an upcast must not')
  }
  return lifted
}

function toEvent(decoded: DecodedEvent, version: number, payload: unknown, stream: string, entryId: string): Event {
  const { type, eventId } = decoded
  return withOptionalTexts({ type, version, payload, eventId: eventId || `${stream}:${entryId}` }, decoded)
}

function rejected(reason: DeadLetterReason, error: unknown, decoded?: DecodedEvent): RejectedEntry {
  return { kind: 'rejected', reason, error, decoded }
}
